"""`tenants list` and `credentials find`: the credentials of all tenants, over the REST API of a running service.

Promises: the whole answer, however many pages it takes; `--json` prints it in the shape of a page. No key is in it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, cast
from urllib.parse import urlencode

import typer

from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table, say
from scripts.terminal.service_client import DEFAULT_URL, KeyFileOption, ServiceClient, UrlOption, admin_key

TENANTS = "/api/v1/sysadmin/tenants"
CREDENTIALS = "/api/v1/sysadmin/credentials"
PAGE = 1000
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

Item = Mapping[str, object]

tenants = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="The tenants that have credentials, or had any."
)


@tenants.callback()
def _group() -> None:
    """The tenants that have credentials, or had any."""


@tenants.command("list")
def list_tenants(
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """List the tenants that have credentials, or had any, with how many are in which state."""
    with ServiceClient(url, admin_key(api_key_file)) as service:
        found = _all(service, TENANTS, "tenants", {})
    if as_json:
        print_json({"tenants": found, "next": None})
    elif not found:
        say("no tenant has a credential or had one")
    else:
        columns = ("tenant", "credentials", "states", "last change", "last used")
        less = ("last used", "last change")
        print_table(Table(columns, [_tenant(one) for one in found], less), wide=wide)


def find(
    *,
    tenant_id: Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.", show_default=False)] = None,
    provider: Annotated[
        str | None, typer.Option(help="Only for this provider, such as openai.", show_default=False)
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(help="in-order, untested, credential-rejected or unreadable.", show_default=False),
    ] = None,
    key_id: Annotated[
        str | None, typer.Option(help="Only those sealed under this encryption key.", show_default=False)
    ] = None,
    set_before: Annotated[
        str | None,
        typer.Option(metavar="TIME", help=f"Last set before then, {_TIME}.", show_default=False),
    ] = None,
    used_before: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not used since then, or never used.", show_default=False)
    ] = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Find the credentials of any tenant that fit; all conditions must hold. Keys are masked."""
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
        found = _all(service, CREDENTIALS, "credentials", query)
    if as_json:
        print_json({"credentials": found, "next": None})
    elif not found:
        say("no credential fits")
    else:
        rows = [[_shown(one.get(name)) for name in _FOUND] for one in found]
        print_table(Table(tuple(_FOUND.values()), rows, ("last used", "set at", "sealed under")), wide=wide)


def _all(service: ServiceClient, path: str, member: str, query: Mapping[str, str]) -> Sequence[Item]:
    found: list[Item] = []
    cursor: dict[str, str] = {}
    while True:
        page = service.call("GET", f"{path}?{urlencode({**query, **cursor, 'limit': PAGE})}")
        found += cast("list[Item]", page[member])
        if page["next"] is None:
            return found
        cursor = {"after": str(page["next"])}


def _tenant(one: Item) -> Sequence[str]:
    states = cast("Mapping[str, int]", one["states"])
    counted = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    times = [_shown(one[name]) for name in ("last_change", "last_used_at")]
    return [str(one["tenant_id"]), str(one["credentials"]), counted, *times]


def _shown(value: object) -> str:
    return "" if value is None else str(value)
