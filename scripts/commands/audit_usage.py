"""`audit usage`: shows the use of credentials by hour, over the REST API of a running service.

Promises: `--json` prints the service's response; where there are more records, the option that continues is printed on
stderr. The service records the reading.
"""

from typing import Annotated, cast
from urllib.parse import urlencode

import typer

from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table, say
from scripts.terminal.service_client import DEFAULT_URL, KeyFileOption, ServiceClient, UrlOption, admin_key

PATH = "/api/v1/audit/usage"
_TIME = "such as 2026-01-31T12:00:00Z"
_COLUMNS = {
    "hour": "hour",
    "tenant_id": "tenant",
    "provider": "provider",
    "version": "version",
    "calls": "calls",
    "failures": "failures",
    "last_used_at": "last used",
}


def usage(
    *,
    tenant_id: Annotated[
        str | None, typer.Option("--tenant", help="Show only this tenant.", show_default=False)
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="Show only this provider, such as openai.", show_default=False)
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"Show hours from this time on, {_TIME}.", show_default=False)
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"Show hours before this time, {_TIME}.", show_default=False)
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="NEXT", help="Continue after the previous page.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Show at most this many records.")] = 100,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Show credential use by hour. Counts calls and failures by tenant, provider and version, with the last use."""
    given = {"tenant_id": tenant_id, "provider": provider, "since": since, "until": until, "after": after}
    query = {name: value for name, value in given.items() if value is not None} | {"limit": str(limit)}
    with ServiceClient(url, admin_key(api_key_file)) as service:
        answer = service.call("GET", f"{PATH}?{urlencode(query)}")
    if as_json:
        print_json(answer)
        return
    found = cast("list[dict[str, object]]", answer["usage"])
    if not found:
        say("no credential was used" if after is None else "no more records")
        return
    rows = [[str(record.get(name, "")) for name in _COLUMNS] for record in found]
    print_table(Table(tuple(_COLUMNS.values()), rows, less=("last used", "tenant")), wide=wide)
    if answer.get("next") is not None:
        say(f"there are more records; continue with: --after {answer['next']}")
