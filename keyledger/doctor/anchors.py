"""Whether the database holds the ledger that is known outside it, by its anchors, last checkpoint and other nodes."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from domain.proofs.checkpoint import Checkpoint
from keyledger.assembly.checks.same_ledger import contradiction_of_peers
from keyledger.assembly.configuration import secret_keys_of
from keyledger.assembly.people import people_of
from keyledger.assembly.service.service_parts import signer_of
from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, fault, ok, warning
from keyledger.log.anchors.anchor import Anchor
from keyledger.log.anchors.contradiction import Contradiction
from keyledger.log.anchors.log_state import Known
from keyledger.log.anchors.log_state import look as look_at_log
from keyledger.log.anchors.places import AnchorPlace, anchor_places
from keyledger.log.durable_file import UnreadableFileError
from keyledger.log.event_store import CredentialLog
from keyledger.proofs.checkpoint_file import CheckpointFile

SUBJECT = "anchors"


def look(here: Circumstances) -> Iterator[Finding]:
    """Report whether the ledger continues what was recorded outside the database, and what other nodes signed."""
    places = anchor_places(here.data_dir, here.settings.anchor_dir if here.settings is not None else None)
    known: list[Known] = []
    for place in places:
        try:
            found = place.known()
        except UnreadableFileError:
            said = f"{place.file.path} cannot be read, so no service will start: restore the file or make it readable"
            yield fault(SUBJECT, said, f"ls -l {place.file.path}")
            return
        if found is not None:
            known.append(found)
    of_checkpoint = _read_checkpoint(here)  # before the log: a service that runs signs and records meanwhile
    seen = look_at_log(here.pool(), known)
    if seen.contradiction is not None:
        yield _contradicted(seen.contradiction)
    else:
        yield from _of_places(here, places, known, seen.now)
    yield from of_checkpoint(seen.now)
    if here.settings is not None and here.settings.audit_signing_key is not None:
        log = CredentialLog(here.pool(), people_of(here.pool(), secret_keys_of(here.settings)).sealer)
        signed = contradiction_of_peers(here.pool(), log, signer_of(here.settings))
        if signed is not None:
            yield _contradicted(signed)


def _contradicted(found: Contradiction) -> Finding:
    command = "keyledger restore accept" if found.acceptable else f"keyledger replay --projection {found.projection}"
    return fault(SUBJECT, found.detail, command)


def _of_places(
    here: Circumstances, places: Sequence[AnchorPlace], known: Sequence[Known], now: Anchor
) -> Iterator[Finding]:
    for place in places:
        if place.problem:
            yield warning(SUBJECT, place.problem, f"ls -l {place.file.path}")
    if known:
        recorded = ", ".join(f"{one.anchor.position} in {one.where}" for one in known)
        yield ok(SUBJECT, f"the log, now at position {now.position}, contains the event recorded at {recorded}")
    elif now.position:
        said = (
            f"{here.data_dir} has no anchor of this log yet: until a start writes one, an older backup goes unnoticed"
        )
        yield warning(SUBJECT, said, "keyledger serve")
    else:
        yield ok(SUBJECT, "the log is empty and has no anchor yet")


def _read_checkpoint(here: Circumstances) -> Callable[[Anchor], Iterator[Finding]]:
    """Read the last checkpoint now, and return what compares it with the log."""
    file = CheckpointFile(here.data_dir)
    try:
        kept = file.read()
    except UnreadableFileError:
        unreadable = fault(SUBJECT, f"the checkpoint in {file.path} cannot be read", "keyledger verify")
        return lambda now: iter([unreadable])
    return lambda now: iter([] if kept is None else [_of_checkpoint(file.path, kept[1], now)])


def _of_checkpoint(path: Path, checkpoint: Checkpoint, now: Anchor) -> Finding:
    if checkpoint.ledger_id != now.ledger_id:
        said = f"the last signed checkpoint in {path} is of another ledger than the database holds"
        return fault(SUBJECT, said, "keyledger restore accept")
    if checkpoint.size > now.position:
        said = f"the last signed checkpoint covers {checkpoint.size} events, but the log has only {now.position}"
        return fault(SUBJECT, said, "keyledger verify")
    return ok(SUBJECT, f"the last signed checkpoint covers {checkpoint.size} of {now.position} events")
