"""`privacy erase|report`: erases a person or a tenant, and lists all that is kept about a person, on the database.

Promises: after an erasure no one reads names, addresses and reasons of the person in any table, export or bundle, while
every proof holds. Both commands are recorded in the audit trail.
Refuses: to erase without a reason and a confirmation, and a tenant whose credentials a second person has to delete.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from keyledger.settings.start_environment import OF_THIS_PROCESS
from scripts.terminal.confirmation import YesOption, confirm_by_typing
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table, say

if TYPE_CHECKING:  # loaded only when a command runs
    from domain.audit.entries import AuditEntry
    from keyledger.assembly.for_commands.privacy_operation import Erased
    from keyledger.encryption.personal_keys import Kind

_REASON_MAX = 500


def erase(
    *,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Reason, kept in the audit trail.", show_default=False)
    ],
    actor: Annotated[
        str | None, typer.Option("--actor", metavar="NAME", help="Erase this actor.", show_default=False)
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", metavar="TENANT", help="Erase this tenant and its credentials.", show_default=False),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address", metavar="ADDRESS", help="Erase this address of callers without a key.", show_default=False
        ),
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Erase a person or a tenant for good. Names, addresses and reasons become unreadable; proofs still hold."""
    from keyledger.assembly.for_commands.privacy_operation import privacy_operation
    from keyledger.log.durable_file import UnreadableFileError

    kind, name = _who(actor, tenant, address)
    _require_reason(reason)
    with privacy_operation(OF_THIS_PROCESS, Path(".env")) as privacy:
        found = privacy.find(kind, name)
        if found is None:
            raise CommandError(Exit.REFUSED, f"nothing personal is kept about this {kind.value}; nothing was changed")
        if waiting := privacy.waiting(kind, name):
            raise CommandError(Exit.REFUSED, *_deletions_first(name, waiting))
        if not yes:
            say(f"what was recorded about this {kind.value} becomes unreadable for good")
            confirm_by_typing("erase", "Type erase to continue", "nothing was changed")
        try:
            erased = privacy.erase(kind, name, found, reason)
        except (OSError, UnreadableFileError):
            raise CommandError(
                Exit.REFUSED, "cannot write the list of erasures in DATA_DIR, which keeps backups from undoing them"
            ) from None
    _show(erased, as_json=as_json)


def report(
    *,
    actor: Annotated[str, typer.Option("--actor", metavar="NAME", help="The actor.", show_default=False)],
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """List all that is kept about one actor. The report itself is recorded."""
    from api.rest.audit.formats.members import members
    from keyledger.assembly.for_commands.privacy_operation import privacy_operation

    with privacy_operation(OF_THIS_PROCESS, Path(".env")) as privacy:
        found = privacy.report(actor)
    if as_json:
        shown = {"actor": actor, "entries": list(map(members, found.entries))}
        print_json(shown | {"searches": list(map(members, found.searches))})
        return
    rows = [_row(entry, "did") for entry in found.entries] + [
        _row(entry, "was searched for") for entry in found.searches
    ]
    if not rows:
        say("nothing is kept about this actor")
    else:
        print_table(Table(("position", "time (UTC)", "how", "action", "address", "reason", "details"), rows), wide=wide)


def _show(erased: "Erased", *, as_json: bool) -> None:
    event, sealed = erased.event, erased.sealed
    if as_json:
        told = {"kind": event.kind, "person": event.person, "keys": event.keys, "credentials": erased.credentials}
        print_json(told | {"sealed_under": sealed})
        return
    ended = f" and {erased.credentials} credentials deleted" if event.erased_tenant else ""
    say(f"erased: {event.keys} keys destroyed{ended}; copies in backups end with the backups")
    if sealed:
        under = ", ".join(f"{key_id} ({count:,})" for key_id, count in sealed.items())
        say(
            f"the log still holds API keys of this tenant, sealed under {under}: they end when these encryption keys"
            " are rotated, retired and destroyed (keyledger keys rotate, keyledger keys retire)"
        )


def _deletions_first(tenant: str, providers: Sequence[str]) -> Sequence[str]:
    return [
        "APPROVALS names delete, so a second person has to approve that this tenant's credentials are deleted.",
        "Nothing was changed. Propose each (a freeze does not prevent it), have it approved, and run this again:",
        *(f"  keyledger credentials delete {tenant} {provider} --yes" for provider in providers),
    ]


def _require_reason(reason: str) -> None:
    if not reason.strip() or not reason.isprintable() or len(reason) > _REASON_MAX:
        raise CommandError(Exit.USAGE, f"--reason: give 1 to {_REASON_MAX} printable characters")


def _who(actor: str | None, tenant: str | None, address: str | None) -> "tuple[Kind, str]":
    from keyledger.encryption.personal_keys import Kind

    given = {Kind.ACTOR: actor, Kind.TENANT: tenant, Kind.ADDRESS: address}
    named = [(kind, name) for kind, name in given.items() if name is not None]
    if len(named) != 1:
        raise CommandError(Exit.USAGE, "give one of --actor, --tenant and --address")
    ((kind, name),) = named
    if kind is not Kind.TENANT:
        return kind, name
    try:
        return kind, str(UUID(name))
    except ValueError:
        raise CommandError(Exit.USAGE, "--tenant: must be a UUID") from None


def _row(entry: "AuditEntry", how: str) -> Sequence[str]:
    time = entry.timestamp.strftime("%Y-%m-%d %H:%M:%S")
    details = ", ".join(f"{name}: {value}" for name, value in entry.details.items())
    about = [str(entry.position), time, how, entry.action.value]
    return [*about, entry.client_address or "", entry.reason or "", details]
