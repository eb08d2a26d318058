"""`restore from` restores a backup; `restore accept` lets the service continue from an older log.

Promises: a backup replaces everything or nothing. `accept` shows its findings before it asks; who accepted which
positions is recorded in the log; the last signed checkpoint is set aside, not deleted. Both work on the database
itself, because the service does not start until then.
Refuses: a file that is not a backup, a database in use by a service, and a backup of a newer release. Nothing is
recorded when there is nothing to accept.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from keyledger.settings.start_environment import OF_THIS_PROCESS
from scripts.terminal.confirmation import YesOption, confirm_by_typing
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, print_json, say

if TYPE_CHECKING:  # loaded only when the command runs
    from keyledger.assembly.for_commands.restore_acceptance import Restore
    from keyledger.log.anchors.contradiction import Contradiction
    from keyledger.settings.settings import Settings
    from keyledger.store_verification import StoreVerdict


def from_file(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A file written by `keyledger backup` or pg_dump --format=custom.",
            show_default=False,
        ),
    ],
    yes: YesOption = False,
    without_roles: Annotated[
        bool, typer.Option("--without-roles", help="Do not restore the owners and grants of tables.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Replace the ledger with that in FILE and verify it. Stop every service first; runs in one transaction."""
    from keyledger.backup.errors import BackupError
    from keyledger.backup.restoring import restoring
    from scripts.terminal.progress import ProgressDisplay

    try:
        with _opened(file) as dump, restoring(OF_THIS_PROCESS, Path(".env"), dump) as restoration:
            end = restoration.contents.end
            say(f"{file}: {end.events:,} events up to position {end.position:,}; {restoration.replaces}")
            if not yes:
                confirm_by_typing("restore", "Type restore to replace the present ledger", "nothing was changed")
            with ProgressDisplay() as display:
                restoration.carry_out(display.update, without_roles=without_roles)
                verdict, found = restoration.verify(display.update)
    except BackupError as error:
        said = f"{file}: {error}; nothing was changed" if error.about_file else str(error)
        raise CommandError(Exit.REFUSED, said) from None
    if as_json:
        numbers = {"events": end.events, "last_position": end.position}
        print_json(numbers | {"verified": verdict.holds, "accept_needed": found is not None})
    _report(verdict, found)


def _report(verdict: "StoreVerdict", found: "Contradiction | None") -> None:
    """Print the result of the verification, and how the log contradicts this node's records. Raises CommandError."""
    if verdict.error is not None:
        raise CommandError(
            Exit.ERROR_FOUND,
            f"restored, but verification failed: {verdict.error.meaning}; for details: keyledger verify --without-keys",
        )
    say("restored; log, tree, audit trail and current credentials are verified")
    if found is not None:
        say(found.detail)
        say("restore a newer backup, or accept this one on every node with: keyledger restore accept")


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    try:
        with file.open("rb") as opened:
            yield opened
    except OSError as problem:
        raise CommandError(Exit.USAGE, f"cannot read {file}: {problem.strerror}") from None


def accept(
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Accept an older log, or another ledger. Until then the service refuses to start. Recorded in the audit trail."""
    from keyledger.assembly.command_meta import command_meta
    from keyledger.settings.settings import load

    settings = load(OF_THIS_PROCESS, Path(".env"))
    with _restore(settings) as restore:
        found, forged = restore.found(), restore.forged()
        if forged:
            _accept_forged(restore, forged, yes=yes)
        if found is None:
            if forged:
                return
            say("nothing to accept: the log matches this node's records")
            if as_json:
                print_json({"accepted": False, **dict.fromkeys(("from_position", "to_position", "from_ledger_id"))})
            return
        say(found.detail)
        if not yes:
            confirm_by_typing("accept", "Type accept to continue from here", "nothing was changed")
        try:
            event = restore.accept(found, command_meta())
        except OSError:
            raise CommandError(
                Exit.REFUSED,
                f"cannot replace the anchor or checkpoint in {_folders(settings)}; the service still does not start",
            ) from None
    say(f"accepted as {event.actor}; the service can start")
    if as_json:
        members = {"from_position": event.from_position, "to_position": event.to_position}
        print_json({"accepted": True, **members, "from_ledger_id": event.from_ledger_id})


def _accept_forged(restore: "Restore", forged: Sequence[int], *, yes: bool) -> None:
    from keyledger.assembly.command_meta import command_meta

    listed = ", ".join(map(str, forged))
    say(f"no holder of a key of this ledger wrote the events at position {listed}; keyledger audit show POSITION")
    say("a deletion among them, once accepted, lets the platform's key serve: set such a credential again first")
    if not yes:
        confirm_by_typing("accept", "Type accept to keep them as they are", "nothing was changed")
    restore.accept_forged(forged, command_meta())
    say("accepted; the attestation that says so is in the log")


def _folders(settings: "Settings") -> str:
    return " or ".join(str(one) for one in (settings.data_dir, settings.anchor_dir) if one is not None)


@contextmanager
def _restore(settings: "Settings") -> Iterator["Restore"]:
    from domain.events.event import utc_now
    from keyledger.assembly.configuration import code_keys_of, secret_keys_of
    from keyledger.assembly.for_commands.restore_acceptance import Restore
    from keyledger.assembly.open_ledger import Purpose, open_ledger
    from keyledger.assembly.people import people_of
    from keyledger.assembly.service.service_parts import signer_of
    from keyledger.log.event_codes.attestation import read_codes
    from keyledger.log.event_store import CredentialLog
    from keyledger.settings.settings import load_code_keys

    with open_ledger(settings.database, Purpose.APPEND) as ledger:  # the backup may be of an older release
        pool = ledger.open_pool()
        codes = read_codes(pool, code_keys_of(*load_code_keys(OF_THIS_PROCESS, Path(".env"))))
        log = CredentialLog(pool, people_of(pool, secret_keys_of(settings)).sealer, codes)
        yield Restore(pool, log, ledger.data_dir, ledger.anchor_places, signer_of(settings), utc_now)
