"""`tenants list|show|register|freeze|thaw|policy`: looks after tenants, over the REST API of a running service.

Promises: the list is complete, however many pages it takes; `--json` prints it in the form of one page. A policy is
changed at the version that was read, so a change of someone else is never undone unseen.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, cast
from urllib.parse import quote

import typer

from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.listing import Found, print_listing
from scripts.terminal.members import print_members, shown
from scripts.terminal.output import JsonOption, Table, WideOption, print_json, say
from scripts.terminal.proposed import require_carried_out
from scripts.terminal.reason import ReasonOption, reason_header
from scripts.terminal.service_client import DEFAULT_URL, KeyFileOption, ServiceClient, UrlOption, admin_key

TENANTS = "/api/v1/sysadmin/tenants"
Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's UUID.", show_default=False)]


def list_tenants(
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """List the known tenants. Shows which are frozen, and how many credentials are in each state."""
    with ServiceClient(url, admin_key(api_key_file)) as service:
        found = service.pages(TENANTS, "tenants", {})
    print_listing(
        "tenants", found, _table, "no tenant is registered, or has or had a credential", as_json=as_json, wide=wide
    )


def show(
    tenant_id: Tenant,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Show a tenant: its name, its labels, its policy and whether it is frozen."""
    with ServiceClient(url, admin_key(api_key_file)) as service:
        print_members(service.call("GET", _path(tenant_id)), "policy", as_json=as_json, wide=wide)


def register(
    *,
    tenant_id: Tenant,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tenant's name.", show_default=False)],
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=TEXT", help="A label; may be repeated.", show_default=False)
    ] = None,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Register a tenant, or replace its name and labels."""
    body = {"name": name, "labels": dict(map(_label, label or ()))}
    with ServiceClient(url, admin_key(api_key_file)) as service:
        answer = service.call("PUT", _path(tenant_id), body=body, headers=reason_header(reason))
    print_members(answer, "policy", as_json=as_json, wide=wide)


def freeze(
    *,
    tenant_id: Tenant,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop all calls and changes of a tenant, on every node, at once."""
    _command(tenant_id, "freeze", reason, url, api_key_file, as_json=as_json)


def thaw(
    *,
    tenant_id: Tenant,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a frozen tenant make calls and changes again."""
    _command(tenant_id, "thaw", reason, url, api_key_file, as_json=as_json)


def policy(
    *,
    tenant_id: Tenant,
    provider: Annotated[
        list[str] | None,
        typer.Option(help="Allow this provider only; may be repeated. `all` for every one.", show_default=False),
    ] = None,
    own_endpoints: Annotated[
        bool | None, typer.Option(help="Whether credentials may name an endpoint.", show_default=False)
    ] = None,
    fallback: Annotated[
        str | None, typer.Option(metavar="allow|deny", help="Whether the global key may serve.", show_default=False)
    ] = None,
    key_check: Annotated[
        bool | None, typer.Option(help="Whether a provider must accept a key before it is stored.", show_default=False)
    ] = None,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Show what a tenant may use, or change the parts that are given."""
    given = {"own_endpoints": own_endpoints, "fallback": fallback, "key_check": key_check}
    changes: dict[str, object] = {member: value for member, value in given.items() if value is not None}
    if provider is not None:
        changes["providers"] = None if provider == ["all"] else provider
    path = f"{_path(tenant_id)}/policy"
    with ServiceClient(url, admin_key(api_key_file)) as service:
        answer = service.call("GET", path)
        if changes:
            body = {member: answer[member] for member in ("providers", *given)} | changes
            seen = {"If-Match": f'"v{answer["version"]}"'}
            answer = service.call("PUT", path, body=body, headers=seen | reason_header(reason))
    require_carried_out(answer, as_json=as_json)
    print_members(answer, "policy", as_json=as_json, wide=wide)


def _command(tenant_id: str, what: str, reason: str | None, url: str, key: KeyFileOption, *, as_json: bool) -> None:
    with ServiceClient(url, admin_key(key)) as service:
        answer = service.call("POST", f"{_path(tenant_id)}/{what}", headers=reason_header(reason))
    require_carried_out(answer, as_json=as_json)
    if as_json:
        print_json(answer)
        return
    state = f"frozen since {answer['frozen_at']}" if answer["frozen"] else "not frozen"
    say(f"{tenant_id} is {state}" + ("" if answer["changed"] else ", as before: nothing was changed"))


def _path(tenant_id: str) -> str:
    return f"{TENANTS}/{quote(tenant_id, safe='')}"


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(Exit.USAGE, "--label must be NAME=TEXT")
    return name, value


def _table(found: Found) -> Table:
    columns = ("tenant", "name", "frozen", "credentials", "states", "last change", "last used")
    return Table(columns, [_listed(one) for one in found], ("last used", "last change", "name"))


def _listed(one: Mapping[str, object]) -> Sequence[str]:
    states = cast("Mapping[str, int]", one["states"])
    counted = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    times = [shown(one[name]) for name in ("last_change", "last_used_at")]
    frozen = "frozen" if one["frozen"] else ""
    return [str(one["tenant_id"]), shown(one["name"]), frozen, str(one["credentials"]), counted, *times]
