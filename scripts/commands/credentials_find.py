"""`credentials find`: finds credentials of all tenants, over the REST API of a running service.

Promises: the result is complete, however many pages it takes; `--json` prints it in the form of one page. Keys are
masked.
"""

from typing import Annotated

import typer

from scripts.terminal.listing import Found, print_listing
from scripts.terminal.output import JsonOption, Table, WideOption
from scripts.terminal.service_client import DEFAULT_URL, KeyFileOption, ServiceClient, UrlOption, admin_key

CREDENTIALS = "/api/v1/sysadmin/credentials"
_TIME = "such as 2026-01-31T12:00:00Z"
_FOUND = {
    "tenant_id": "tenant",
    "provider": "provider",
    "masked_key": "key",
    "state": "state",
    "key_id": "sealed under",
    "configured_at": "set at",
    "last_used_at": "last used",
}


def find(
    *,
    tenant_id: Annotated[str | None, typer.Option("--tenant", help="Only this tenant.", show_default=False)] = None,
    provider: Annotated[
        str | None, typer.Option(help="Only this provider, such as openai.", show_default=False)
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            help="Only this state: in-order, untested, credential-rejected or unreadable.", show_default=False
        ),
    ] = None,
    key_id: Annotated[
        str | None, typer.Option(help="Only credentials sealed under this key.", show_default=False)
    ] = None,
    set_before: Annotated[
        str | None,
        typer.Option(metavar="TIME", help=f"Only credentials last set before this time, {_TIME}.", show_default=False),
    ] = None,
    used_before: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only credentials not used since this time.", show_default=False)
    ] = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Find credentials of all tenants. Only those that match every option are listed; keys are masked."""
    given = {
        "tenant_id": tenant_id,
        "provider": provider,
        "state": state,
        "key_id": key_id,
        "set_before": set_before,
        "used_before": used_before,
    }
    query = {name: value for name, value in given.items() if value is not None}
    with ServiceClient(url, admin_key(api_key_file)) as service:
        found = service.pages(CREDENTIALS, "credentials", query)
    print_listing("credentials", found, _table, "no credentials match", as_json=as_json, wide=wide)


def _table(found: Found) -> Table:
    rows = [[_shown(one.get(name)) for name in _FOUND] for one in found]
    return Table(tuple(_FOUND.values()), rows, ("last used", "set at", "sealed under"))


def _shown(value: object) -> str:
    return "" if value is None else str(value)
