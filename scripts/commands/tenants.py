"""`tenants list`: lists the tenants that have or had credentials, over the REST API of a running service.

Promises: the result is complete, however many pages it takes; `--json` prints it in the form of one page.
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
    """List tenants that have or had credentials. Shows how many credentials are in each state."""
    with ServiceClient(url, admin_key(api_key_file)) as service:
        found = service.pages(TENANTS, "tenants", {})
    if as_json:
        print_json({"tenants": found, "next": None})
    elif not found:
        say("no tenant has or had a credential")
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
