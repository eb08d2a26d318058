"""A bundle of one tenant: its records, each with the proof that it is in the log, and no other tenant's.

Promises: a bundle that would not verify is not published; memory is bounded by one record. Both files have exactly one
valid spelling, so any changed byte is found.
Refuses: a record of another tenant, a record whose proof does not hold.
Does not show: that no record was left out; only the full log can show that.
"""

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.audit.record import AuditRecord, decode_record
from domain.proofs.checkpoint import Checkpoint, parse_checkpoint
from domain.proofs.errors import ProofError
from domain.proofs.merkle_tree import leaf_hash, verify_inclusion
from domain.proofs.signed_note import decode_base64, parse_note
from keyledger.evidence import layout
from keyledger.evidence.errors import EvidenceError

_MAX_HEAD = 4096


@dataclass(frozen=True, slots=True)
class ProvenLeaf:
    """A leaf and its inclusion proof under the bundle's checkpoint."""

    leaf: bytes
    proof: Sequence[bytes]


class TenantBundleWriter:
    """Writes one bundle of one tenant."""

    def __init__(self, folder: Path) -> None:
        """folder: a new or empty one."""
        self._folder = folder

    def write(
        self, tenant_id: str, records: Iterable[ProvenLeaf], checkpoint: bytes, disclosures: Iterable[bytes] = ()
    ) -> None:
        """Write the records of a tenant, in the order of the log, under a signed checkpoint.

        disclosures: lines for the records that were read, see `disclosures`.

        Raises ProofError for a malformed checkpoint, EvidenceError when a record is another tenant's, out of order or
        not proven, and OSError. Nothing is left behind then.
        """
        signed = parse_checkpoint(parse_note(checkpoint).text)
        head = {"format": layout.FORMAT, "tenant_id": tenant_id, "tree_size": signed.size}
        with layout.bundle_folder(self._folder) as draft:
            (draft / layout.TENANT).write_bytes(layout.line_of(head))
            with (draft / layout.RECORDS).open("wb") as file:
                previous = 0
                for proven in records:
                    record = _checked(proven, tenant_id, signed, previous)
                    previous = record.position
                    file.write(layout.line_of(_members(proven, previous)))
            layout.finish(draft, checkpoint, disclosures)


def is_tenant_bundle(folder: Path) -> bool:
    """Return whether the folder says that it is a bundle of one tenant."""
    return (folder / layout.TENANT).exists()


def read_tenant(folder: Path, checkpoint: Checkpoint) -> str:
    """Return which tenant a bundle is about. Raises EvidenceError."""
    content = layout.read(folder, layout.TENANT, _MAX_HEAD)
    head = layout.parsed(content, {"format": str, "tenant_id": str, "tree_size": int})
    if head is None or head["format"] != layout.FORMAT:
        raise EvidenceError(f"{layout.TENANT} is not in the format {layout.FORMAT}.")
    if head["tree_size"] != checkpoint.size:
        raise EvidenceError(f"{layout.TENANT} says {head['tree_size']} records, the checkpoint {checkpoint.size}.")
    return str(head["tenant_id"])


def verify_records(folder: Path, tenant_id: str, checkpoint: Checkpoint, look: Callable[[AuditRecord], None]) -> int:
    """Verify the proof of every record in a bundle; return how many there are.

    look: called with each record, in order, once its proof holds. Raises EvidenceError.
    """
    count = previous = 0
    for line in layout.lines(folder, layout.RECORDS):
        members = layout.parsed(line, {"leaf": str, "position": int, "proof": list})
        after = f"after record {previous}" if previous else "at the beginning"
        if members is None:
            raise EvidenceError(f"{layout.RECORDS} has a line {after} that is not a record of this format.")
        position = members["position"]
        try:
            proven = ProvenLeaf(members["leaf"].encode(), [decode_base64(one) for one in members["proof"]])
        except (ProofError, TypeError, AttributeError, UnicodeEncodeError):
            raise EvidenceError("its proof is not a list of hashes in base64.", position) from None
        record = _checked(proven, tenant_id, checkpoint, previous, position)
        look(record)
        count, previous = count + 1, position
    return count


def _checked(
    proven: ProvenLeaf, tenant_id: str, checkpoint: Checkpoint, previous: int, position: int | None = None
) -> AuditRecord:
    """Check that a record is the tenant's, comes after `previous` and is proven under the checkpoint; return it."""
    try:
        record = decode_record(proven.leaf)
    except ProofError as error:
        raise EvidenceError(f"it is not an audit record ({error}).", position or previous + 1) from None
    if position is None:
        position = record.position
    try:
        verify_inclusion(position - 1, checkpoint.size, leaf_hash(proven.leaf), tuple(proven.proof), checkpoint.root)
    except ProofError as error:
        raise EvidenceError(
            f"it is not proven to be in the log ({error}): the record was changed or moved after it was signed, or was"
            " never in the log.",
            position,
        ) from None
    if record.position != position:
        raise EvidenceError(f"its content says that it is record {record.position}.", position)
    if position <= previous:
        raise EvidenceError(f"it comes after record {previous}: records are repeated or out of order.", position)
    if record.tenant_id != tenant_id:
        raise EvidenceError("it is not a record of this tenant.", position)
    return record


def _members(proven: ProvenLeaf, position: int) -> dict[str, Any]:
    proof = [base64.b64encode(one).decode() for one in proven.proof]
    return {"leaf": proven.leaf.decode(), "position": position, "proof": proof}
