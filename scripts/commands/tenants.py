"""`tenants list`: the tenants that have credentials, over the REST API of a running service.

Promises: the whole answer, however many pages it takes; `--json` prints it in the shape of a page.
"""

from collections.abc import Mapping, Sequence
from typing import cast

from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table, say
from scripts.terminal.service_client import DEFAULT_URL, KeyFileOption, ServiceClient, UrlOption, admin_key

TENANTS = "/api/v1/sysadmin/tenants"


def list_tenants(
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """List the tenants that have credentials, or had any, with how many are in which state."""
    with ServiceClient(url, admin_key(api_key_file)) as service:
        found = service.pages(TENANTS, "tenants", {})
    if as_json:
        print_json({"tenants": found, "next": None})
    elif not found:
        say("no tenant has a credential or had one")
    else:
        columns = ("tenant", "credentials", "states", "last change", "last used")
        less = ("last used", "last change")
        print_table(Table(columns, [_tenant(one) for one in found], less), wide=wide)


def _tenant(one: Mapping[str, object]) -> Sequence[str]:
    states = cast("Mapping[str, int]", one["states"])
    counted = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    times = [_shown(one[name]) for name in ("last_change", "last_used_at")]
    return [str(one["tenant_id"]), str(one["credentials"]), counted, *times]


def _shown(value: object) -> str:
    return "" if value is None else str(value)
