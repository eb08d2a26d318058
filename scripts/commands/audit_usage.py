"""`audit usage`: who used a credential, by the hour, over the REST API of a running service.

Promises: `--json` prints the service's own answer; a page that is not the last says how to go on, on stderr. The
service records that it was asked.
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
    tenant_id: Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.", show_default=False)] = None,
    provider: Annotated[
        str | None, typer.Option(help="Only for this provider, such as openai.", show_default=False)
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"Hours from then on, {_TIME}.", show_default=False)
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"Hours before then, {_TIME}.", show_default=False)
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="NEXT", help="Go on after the page before.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many records.")] = 100,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Show who used a credential: calls, failures and the last use by tenant, provider, version and hour."""
    given = {"tenant_id": tenant_id, "provider": provider, "since": since, "until": until, "after": after}
    query = {name: value for name, value in given.items() if value is not None} | {"limit": str(limit)}
    with ServiceClient(url, admin_key(api_key_file)) as service:
        answer = service.call("GET", f"{PATH}?{urlencode(query)}")
    if as_json:
        print_json(answer)
        return
    found = cast("list[dict[str, object]]", answer["usage"])
    if not found:
        say("no credential was used" if after is None else "nothing after this")
        return
    rows = [[str(record.get(name, "")) for name in _COLUMNS] for record in found]
    print_table(Table(tuple(_COLUMNS.values()), rows, less=("last used", "tenant")), wide=wide)
    if answer.get("next") is not None:
        say(f"there is more: --after {answer['next']}")
