"""`proposals list|show|approve|reject`: decides commands that need a second person, over a service's REST API.

Promises: a proposal is approved at the version that was shown, so one that was decided meanwhile is not approved again.
Refuses: to approve without confirmation.
"""

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote

import typer

from scripts.terminal.confirmation import YesOption, confirm
from scripts.terminal.listing import Found, print_listing
from scripts.terminal.members import print_members, shown
from scripts.terminal.output import JsonOption, Table, WideOption, print_json, say
from scripts.terminal.reason import ReasonOption, reason_header
from scripts.terminal.service_client import DEFAULT_URL, KeyFileOption, ServiceClient, UrlOption, admin_key

PATH = "/api/v1/sysadmin/proposals"
PATIENCE_S = 600.0
"""Seconds that the approval of a retirement may take: the service looks at every credential again."""
Id = Annotated[str, typer.Argument(metavar="ID", help="The proposal's id.", show_default=False)]
_COLUMNS = ("proposal_id", "state", "command", "about", "proposed_by", "expires_at", "decided_by")


def list_proposals(
    *,
    state: Annotated[
        str | None,
        typer.Option(help="Only these: open, approved, rejected or lapsed.", show_default=False),
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(help="Only these: delete, retire, policy, access-keys or thaw.", show_default=False),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="TENANT", help="Only those of this tenant.", show_default=False)
    ] = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """List the proposals. Shows who made each, and what became of it."""
    given = {"proposal_state": state, "command": command, "tenant_id": tenant}
    query = {name: value for name, value in given.items() if value is not None}
    with ServiceClient(url, admin_key(api_key_file)) as service:
        found = service.pages(PATH, "proposals", query)
    print_listing("proposals", found, _table, "there are no such proposals", as_json=as_json, wide=wide)


def show(
    *,
    proposal_id: Id,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Show one proposal."""
    with ServiceClient(url, admin_key(api_key_file)) as service:
        print_members(service.call("GET", _path(proposal_id)), "members", as_json=as_json, wide=wide)


def approve(
    *,
    proposal_id: Id,
    yes: YesOption = False,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Approve a proposal of someone else, which carries it out."""
    with ServiceClient(url, admin_key(api_key_file), PATIENCE_S) as service:
        seen = service.call("GET", _path(proposal_id))
        if not yes:
            print_members(seen, "members", as_json=False, wide=wide)
            confirm("Approve it?", "nothing was changed")
        headers = {"If-Match": f'"v{seen["version"]}"'} | reason_header(reason)
        answer = service.call("POST", f"{_path(proposal_id)}/approve", headers=headers)
    if as_json:
        print_json(answer)
    else:
        say("approved and carried out")


def reject(
    *,
    proposal_id: Id,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reject a proposal, or withdraw one of your own."""
    with ServiceClient(url, admin_key(api_key_file)) as service:
        answer = service.call("POST", f"{_path(proposal_id)}/reject", headers=reason_header(reason))
    if as_json:
        print_json(answer)
    else:
        say("rejected; nothing was carried out")


def _path(proposal_id: str) -> str:
    return f"{PATH}/{quote(proposal_id, safe='')}"


def _table(found: Found) -> Table:
    rows = [[_cell(name, one) for name in _COLUMNS] for one in found]
    return Table(_COLUMNS, rows, ("decided_by", "expires_at"))


def _cell(name: str, one: Mapping[str, object]) -> str:
    if name != "about":
        return shown(one[name])
    members = one["members"]
    key = members.get("access_key") if isinstance(members, dict) else None
    return " ".join(str(part) for part in (one["tenant_id"], one["provider"], one["key_id"], key) if part is not None)
