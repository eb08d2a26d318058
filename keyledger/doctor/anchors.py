"""Whether the log agrees with what DATA_DIR recorded of it: the anchor of its end and the last signed checkpoint."""

from collections.abc import Iterator

from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, fault, ok, warning
from keyledger.log.anchor import AnchorFile
from keyledger.log.anchor import look as look_at_log
from keyledger.log.durable_file import UnreadableFileError
from keyledger.proofs.checkpoint_file import CheckpointFile

SUBJECT = "anchors"


def look(here: Circumstances) -> Iterator[Finding]:
    """Report whether the log continues what was recorded outside the database."""
    file = AnchorFile(here.data_dir)
    try:
        known = file.read()
    except UnreadableFileError:
        said = f"{file.path} cannot be read, so no service will start: restore the file or make it readable"
        yield fault(SUBJECT, said, f"ls -l {file.path}")
        return
    now, contradiction = look_at_log(here.pool(), known)
    if contradiction is not None:
        yield fault(SUBJECT, contradiction.detail, "keyledger restore accept")
    elif now.ledger_id in known:
        yield ok(
            SUBJECT,
            f"the log, now at position {now.position}, contains the event recorded at {known[now.ledger_id].position}",
        )
    elif now.position:
        said = (
            f"{here.data_dir} has no anchor of this log yet: until a start writes one, an older backup goes unnoticed"
        )
        yield warning(SUBJECT, said, "keyledger serve")
    else:
        yield ok(SUBJECT, "the log is empty and has no anchor yet")
    yield from _of_checkpoint(here, now.ledger_id, now.position)


def _of_checkpoint(here: Circumstances, ledger_id: str, head: int) -> Iterator[Finding]:
    file = CheckpointFile(here.data_dir, ledger_id)
    try:
        kept = file.read()
    except UnreadableFileError:
        yield fault(SUBJECT, f"the checkpoint in {file.path} cannot be read", "keyledger verify")
        return
    if kept is None:
        return
    if kept[1].size > head:
        said = f"the last signed checkpoint covers {kept[1].size} events, but the log has only {head}"
        yield fault(SUBJECT, said, "keyledger verify")
    else:
        yield ok(SUBJECT, f"the last signed checkpoint covers {kept[1].size} of {head} events")
