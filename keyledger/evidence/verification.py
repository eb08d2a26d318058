"""Offline verification of an evidence bundle, from the auditor's key to the meaning of the records.

In this order: the signatures of the checkpoint; every hash up to its root, or every proof; the auditor's older
checkpoint; the contents of the records. Tampering is reported before its consequences: that a record is not the one
that was signed says more than that its version is wrong.
Promises: only the given keys are trusted, and nothing in the folder; one pass, bounded memory; a verdict for any
content of the folder, however damaged.
Standards: RFC 6962, C2SP signed-note, tlog-checkpoint, tlog-tiles, tlog-cosignature.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from domain.audit.record import AuditRecord, decode_record
from domain.proofs.checkpoint import Checkpoint, parse_checkpoint
from domain.proofs.errors import ProofError
from domain.proofs.signed_note import COSIGNATURE_V1, ED25519, open_note, parse_note
from domain.text.visible_text import visible
from keyledger.evidence import full_bundle, layout, tenant_bundle
from keyledger.evidence.disclosures import Disclosures
from keyledger.evidence.errors import EvidenceError
from keyledger.evidence.full_bundle import Progress, silent
from keyledger.evidence.history import CLOCK_TOLERANCE, Decode, History
from keyledger.proofs.signing_keys import Ed25519Verifier, cosigned_at, verifier_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a verification.

    proven: statements that hold, in the order in which they were checked. notes: what else an auditor should know.
    not_interpreted: by type, the number of records whose meaning was not checked. error: the first error, None if there
    is none. checkpoint: None until its signature was verified. tenant_id: None for a full bundle.
    """

    proven: Sequence[str]
    notes: Sequence[str]
    not_interpreted: Mapping[str, int]
    error: EvidenceError | None
    checkpoint: Checkpoint | None
    tenant_id: str | None = None

    @property
    def holds(self) -> bool:
        """Whether the bundle shows what a bundle of its kind can show."""
        return self.error is None

    def report(self) -> str:
        """Return the verdict as lines of text."""
        lines = [f"proven  {statement}" for statement in self.proven]
        lines += [f"note    {note}" for note in self.notes]
        lines.append("The evidence holds." if self.error is None else f"FAILED  {self.error}")
        return "\n".join(map(visible, lines))


@dataclass(slots=True)
class _Findings:
    """The result so far."""

    checkpoint: Checkpoint | None = None
    tenant_id: str | None = None
    proven: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    history: History | None = None


def verify_bundle(
    folder: Path,
    vkey: str,
    *,
    since: str | None = None,
    witnesses: Sequence[str] = (),
    progress: Progress = silent,
    tolerance: timedelta = CLOCK_TOLERANCE,
    decode: Decode = decode_record,
) -> Verdict:
    """Verify a full bundle, or that of one tenant.

    vkey: the verifier key of the log. since: a signed checkpoint that the auditor kept. witnesses: verifier keys of
    witnesses, all of which must have cosigned. progress: called for a full bundle with the number of records done and
    in all. tolerance: how far time may go back from one record to the next before it is noted. decode: as in `History`,
    for a full bundle.

    Raises ProofError for a malformed verifier key. Everything that is wrong with the evidence is in the verdict.
    """
    log = _verifier(vkey, ED25519, "of a log")
    cosigners = [_verifier(witness, COSIGNATURE_V1, "of a witness") for witness in witnesses]
    found, error = _Findings(), None
    try:
        _verify(folder, log, cosigners, since, progress, partial(History, tolerance=tolerance, decode=decode), found)
    except EvidenceError as raised:
        error = raised
    not_interpreted = found.history.not_interpreted if found.history else {}
    return Verdict(tuple(found.proven), tuple(found.notes), not_interpreted, error, found.checkpoint, found.tenant_id)


def open_checkpoint(data: bytes, log: Ed25519Verifier, cosigners: Sequence[Ed25519Verifier] = ()) -> Checkpoint:
    """Return the checkpoint that a log signed, under its own name, and all cosigners. Raises EvidenceError."""
    try:
        note, verified = open_note(data, [log, *cosigners])
        checkpoint = parse_checkpoint(note.text)
    except ProofError as error:
        raise EvidenceError(f"The checkpoint cannot be trusted: {_of_another_log(data, log) or error}.") from None
    signers = {(signature.name, signature.key_id) for signature in verified}
    for key in (log, *cosigners):
        if (key.name, key.key_id) not in signers:
            raise EvidenceError(f"The checkpoint is not signed by {key.name}.")
    if checkpoint.origin != log.name:
        raise EvidenceError(
            "The checkpoint belongs to another log than the key: its origin is not the name of the key."
        )
    return checkpoint


def _of_another_log(data: bytes, log: Ed25519Verifier) -> str:
    """Return, for a note that the key did not sign, whose checkpoint it claims to be; "" for one of this log."""
    try:
        origin = parse_checkpoint(parse_note(data).text).origin
    except ProofError:
        return ""
    return "" if origin == log.name else f"it is of the log {origin}, and the key is that of the log {log.name}"


def _verify(
    folder: Path,
    log: Ed25519Verifier,
    cosigners: Sequence[Ed25519Verifier],
    since: str | None,
    progress: Progress,
    history_of: Callable[..., History],
    found: _Findings,
) -> None:
    data = layout.read_checkpoint(folder)
    checkpoint = found.checkpoint = open_checkpoint(data, log, cosigners)
    found.proven.append(
        f"The checkpoint over {_many(checkpoint.size, 'record')} is signed by {log.name} (key {log.key_id.hex()})."
    )
    found.proven += _cosigned(data, log, cosigners)
    older = _older(since, log, checkpoint) if since is not None else None
    layout.require_readme(folder)
    if tenant_bundle.is_tenant_bundle(folder):
        _verify_tenant(folder, checkpoint, older, history_of, found)
    else:
        _verify_full(folder, checkpoint, older, progress, history_of, found)


def _verify_full(
    folder: Path,
    checkpoint: Checkpoint,
    older: Checkpoint | None,
    progress: Progress,
    history_of: Callable[..., History],
    found: _Findings,
) -> None:
    history = found.history = history_of(whole=True)
    disclosures, errors = Disclosures(folder), list[EvidenceError]()

    def look(position: int, leaf: bytes) -> None:
        if (
            not errors
        ):  # after an impossible record the contents of the others mean nothing, but their hashes still count
            try:
                disclosures.tell(history.tell_leaf(position, leaf))
            except EvidenceError as error:
                errors.append(error)

    tiles = full_bundle.recompute(folder, checkpoint, older, look, progress)
    found.proven.append(
        f"All {_many(checkpoint.size, 'record')}, {_many(tiles, 'tile')} and the root were recomputed and are what was"
        " signed."
    )
    if older is not None:
        found.proven.append(
            f"The first {_many(older.size, 'record')} are those of the older checkpoint: none was changed, removed or"
            " inserted since."
        )
    if errors:
        raise errors[0]
    found.proven.append(
        f"Positions run from 1 to {checkpoint.size}, and versions from 1 in each of {_many(history.streams, 'stream')},"
        " without a gap."
    )
    _conclude(history, disclosures, found)


def _verify_tenant(
    folder: Path, checkpoint: Checkpoint, older: Checkpoint | None, history_of: Callable[..., History], found: _Findings
) -> None:
    tenant_id = found.tenant_id = tenant_bundle.read_tenant(folder, checkpoint)
    if older is not None and older.size < checkpoint.size:
        raise EvidenceError(
            "A bundle of one tenant cannot show that the log extends the older checkpoint. Verify it without that"
            " checkpoint, and a full bundle with it."
        )
    history = found.history = history_of(whole=False)
    disclosures, errors = Disclosures(folder), list[EvidenceError]()

    def look(record: AuditRecord) -> None:
        if not errors:
            try:
                history.tell(record)
                disclosures.tell(record)
            except EvidenceError as error:
                errors.append(error)

    count = tenant_bundle.verify_records(folder, tenant_id, checkpoint, look)
    found.proven.append(
        f"{_many(count, 'record')} of tenant {tenant_id}: each is in the log, in its place, as it was signed."
    )
    found.notes.append("A bundle of one tenant does not show that no record was left out; a full bundle does.")
    if errors:
        raise errors[0]
    _conclude(history, disclosures, found)


def _conclude(history: History, disclosures: Disclosures, found: _Findings) -> None:
    disclosures.finish()
    if disclosures.disclosed or disclosures.withheld:
        found.proven.append(f"{_many(disclosures.disclosed, 'personal member')} disclosed, each as it was recorded.")
    if disclosures.withheld:
        found.notes.append(
            f"{_many(disclosures.withheld, 'personal member')} recorded, but not disclosed: erased since, or left out."
        )
    interpreted = sum(history.types.values()) - sum(history.not_interpreted.values())
    found.proven.append(
        f"{_many(interpreted, 'change')} of credentials and encryption keys: each is a possible step after the one"
        " before."
    )
    if history.not_interpreted:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(history.not_interpreted.items()))
        found.notes.append(f"Not interpreted, but in their place: {kinds}.")
    if history.first_step is not None:
        found.notes.append(
            f"Time goes back {_many(history.steps_back, 'time')}, by {history.largest_step.total_seconds():.3f} s at"
            f" most, first at record {history.first_step}."
        )


def _older(since: str, log: Ed25519Verifier, checkpoint: Checkpoint) -> Checkpoint:
    """Return the auditor's older checkpoint, once it can be one that the new checkpoint extends."""
    try:
        older = open_checkpoint(since.encode(), log)
    except (EvidenceError, UnicodeEncodeError):
        other = _of_another_log(since.encode(errors="replace"), log)
        raise EvidenceError(f"The older checkpoint was not signed by this key{other and f': {other}'}.") from None
    if older.size > checkpoint.size:
        raise EvidenceError(
            f"The older checkpoint covers {older.size} records, this one {checkpoint.size}: records were removed, or"
            " the two checkpoints were mixed up."
        )
    if older.size == checkpoint.size and older.root != checkpoint.root:
        raise EvidenceError(
            f"The older checkpoint covers {older.size} records as well, but different ones: the log was rewritten."
        )
    return older


def _cosigned(data: bytes, log: Ed25519Verifier, cosigners: Sequence[Ed25519Verifier]) -> list[str]:
    _, verified = open_note(data, [log, *cosigners])
    times = {(one.name, one.key_id): one for one in verified}
    return [
        f"{key.name} (key {key.key_id.hex()}) cosigned it on {_day(cosigned_at(times[key.name, key.key_id]))}."
        for key in cosigners
    ]


def _day(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return f"second {seconds}"


def _verifier(vkey: str, kind: int, whose: str) -> Ed25519Verifier:
    verifier = verifier_of(vkey)
    if verifier.key.kind != kind:
        raise ProofError(f"the verifier key of {verifier.name} is not that {whose} (type {kind:#04x})")
    return verifier


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
