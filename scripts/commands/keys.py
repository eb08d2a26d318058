"""`keys list|add-next|adopt-next|retire`: manages encryption keys, in the database, with the settings of `serve`;
`add-next` and `adopt-next` change this node's settings. Where APPROVALS names retire, `retire` sends the command to a
running service, which proposes it: the database does not know who runs a command on it.

Promises: a key that is still needed is never retired. No key is prompted for, read from an argument, or printed.
Refuses: to retire without confirmation.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from keyledger.settings.start_environment import OF_THIS_PROCESS
from scripts.terminal.confirmation import YesOption, confirm
from scripts.terminal.interruption import interruptible
from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table, say
from scripts.terminal.progress import ProgressDisplay
from scripts.terminal.proposed import require_carried_out
from scripts.terminal.reason import ReasonOption, reason_header
from scripts.terminal.service_client import DEFAULT_URL, KeyFileOption, ServiceClient, UrlOption, admin_key

PATIENCE_S = 600.0
"""Seconds that a service may take to check that nothing needs a key."""

if TYPE_CHECKING:  # loaded only when a command runs
    from domain.operations.rotation import KeyStatus, Unopened
    from keyledger.assembly.for_commands.key_operation import KeyOperation


def list_keys(as_json: JsonOption = False, wide: WideOption = False) -> None:
    """List all keys. Shows what still needs each, and whether it is safe to remove."""
    with opened_keys() as keys:
        found = keys.statuses.all()
    if as_json:
        print_json([_shown(one) for one in found])
    else:
        _print_keys(found, wide=wide)


def add_next(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File that holds the new key.", show_default=False)],
) -> None:
    """Add the next encryption key to this node's .env. It is used once every running node has it."""
    from keyledger.assembly.for_commands.next_key import add_next as add

    key_id = add(OF_THIS_PROCESS, Path(".env"), file)
    say(f"{key_id} is now this node's next key; load it into the running service with: keyledger reload")


def adopt_next() -> None:
    """Make the next key ENCRYPTION_KEY in this node's .env. All former keys must be retired."""
    from domain.operations.rotation import KeyState
    from keyledger.assembly.for_commands.next_key import adopt_next as adopt

    with opened_keys() as keys:
        retired = {one.key_id for one in keys.statuses.all() if one.state is KeyState.RETIRED}
    key_id = adopt(OF_THIS_PROCESS, Path(".env"), retired)
    say(f"{key_id} is now this node's only key; unload the others from the running service with: keyledger reload")


def retire(
    key_id: Annotated[
        str, typer.Argument(metavar="KEY_ID", help="The key's id, as shown by `keys list`.", show_default=False)
    ],
    yes: YesOption = False,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record that a key can be destroyed. Checks first that nothing needs it."""
    from domain.approvals.needs import Approval

    with opened_keys() as keys:
        if Approval.RETIRE in keys.approvals.named:
            _propose(key_id, reason, url, api_key_file, as_json=as_json)
            return
        with ProgressDisplay() as display:
            plan = keys.retirer.plan(key_id, display.update)
        say(
            f"without {plan.key_id}, {plan.unrecoverable:,} secrets become permanently unreadable"
            " (replaced and deleted ones in the history; no live credential, and the audit trail stays complete)"
        )
        if not yes:
            confirm(f"Retire {plan.key_id}?", "nothing was retired")
        event = keys.retirer.carry_out(plan, keys.meta)
    say(
        "retired; on every node, run keyledger keys adopt-next or remove the key from ENCRYPTION_KEY_PREVIOUS, then run"
        " keyledger reload; finally destroy the key"
    )
    if as_json:
        print_json({"key_id": event.key_id, "retired_at": _time(event.timestamp), "unrecoverable": event.unrecoverable})


def _propose(key_id: str, reason: str | None, url: str, key_file: Path | None, *, as_json: bool) -> None:
    path = f"/api/v1/sysadmin/encryption-keys/{quote(key_id, safe='')}/retire"
    with ServiceClient(url, admin_key(key_file), PATIENCE_S) as service:
        answer = service.call("POST", path, headers=reason_header(reason))
    require_carried_out(answer, as_json=as_json)
    say("retired: the service at this URL needs no second person for it")
    if as_json:
        print_json(answer)


@contextmanager
def opened_keys(*, fast: bool = False) -> "Iterator[KeyOperation]":
    """Open the database and the keys of the settings that `serve` uses, until the block ends.

    fast: a rotation does not rest.
    """
    from keyledger.assembly.for_commands.key_operation import key_operation
    from keyledger.encryption.reencryption import FAST, GENTLE

    opened = key_operation(OF_THIS_PROCESS, Path(".env"), FAST if fast else GENTLE)
    with interruptible("completed steps are kept"), opened as keys:
        yield keys


def _print_keys(found: "Sequence[KeyStatus]", *, wide: bool) -> None:
    columns = ("key", "state", "introduced", "live", "superseded", "safe to remove", "why")
    rows = [
        (
            one.key_id,
            one.state.value,
            _time(one.introduced_at) or "",
            f"{one.live:,}",
            f"{one.superseded:,}",
            "yes" if one.safe_to_remove else "no",
            one.reason,
        )
        for one in found
    ]
    print_table(Table(columns, rows, less=("why", "introduced")), wide=wide)


def _shown(status: "KeyStatus") -> dict[str, object]:
    return {
        "key_id": status.key_id,
        "state": status.state.value,
        "introduced_at": _time(status.introduced_at),
        "retired_at": _time(status.retired_at),
        "live": status.live,
        "superseded": status.superseded,
        "safe_to_remove": status.safe_to_remove,
        "reason": status.reason,
    }


def print_unopened(unopened: "Sequence[Unopened]", *, wide: bool) -> None:
    """Print the credentials that could not be opened, if any."""
    if unopened:
        rows = [(one.tenant_id, one.provider, one.reason) for one in unopened]
        print_table(Table(("tenant", "provider", "reason"), rows), wide=wide)


def unopened_json(unopened: "Sequence[Unopened]") -> list[dict[str, str]]:
    """Return the credentials that could not be opened, for `--json`."""
    return [{"tenant_id": one.tenant_id, "provider": one.provider, "reason": one.reason} for one in unopened]


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
