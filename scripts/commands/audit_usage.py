"""`audit usage`: shows the use of credentials by hour, over the REST API of a running service.

Promises: `--json` prints the service's response; where there are more records, the option that continues is printed on
stderr. The service records the reading.
"""

from typing import Annotated
from urllib.parse import urlencode

import typer

from scripts.terminal.listing import print_usage
from scripts.terminal.output import JsonOption, WideOption
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
    less, nothing = ("last used", "tenant"), "no credential was used"
    print_usage(answer, _COLUMNS, less, nothing, after=after, as_json=as_json, wide=wide)
