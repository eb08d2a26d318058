"""Decodes audit records about three times as fast as `domain.audit.record`, with the same results.

Promises: a record is accepted here only if its bytes are those of its members in the canonical encoding, with neither
escapes nor fractions nor nested details, as hardly any record has. Every other one is judged by
`domain.audit.record.decode_record`, so nothing is accepted that it does not accept, and errors are its errors.
"""

from typing import Annotated

import msgspec

from domain.audit.record import DIGEST, OUTCOMES, AuditRecord, read_stream, read_time
from domain.audit.record import decode_record as decode_plainly
from domain.proofs.errors import ProofError
from domain.proofs.tiles import MAX_ENTRY_SIZE

_From1 = Annotated[int, msgspec.Meta(ge=1)]


class _Record(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The members of `AuditRecord` as they are spelled, in the same order."""

    actor: str
    causation_id: str | None
    client_address: str | None
    command_id: str
    details: dict[str, str | int | None]
    event: str
    fingerprint: str | None
    key_id: str | None
    masked_key: str | None
    node_time: str
    outcome: str
    position: _From1
    provider: str | None
    reason: str | None
    request_id: str
    role: str
    source: str
    stream: str
    tenant_id: str | None
    time: str
    type: str
    version: _From1


assert _Record.__struct_fields__ == AuditRecord._fields  # noqa: S101  one list, spelled twice
_decode = msgspec.json.Decoder(_Record).decode
_encode = msgspec.json.Encoder().encode


def decode_record(leaf: bytes) -> AuditRecord:
    """Return the record in a leaf. Raises ProofError."""
    return _quickly(leaf) or decode_plainly(leaf)


def _quickly(leaf: bytes) -> AuditRecord | None:
    """Return the record if it is certainly right."""
    if b"\\" in leaf or len(leaf) > MAX_ENTRY_SIZE:
        return None
    try:
        told = _decode(leaf)
        if _encode(told) != leaf or not DIGEST.fullmatch(told.event):
            return None
        if told.details and sorted(told.details) != list(told.details):
            return None
        time = read_time(told.time)
        node_time = time if told.node_time == told.time else read_time(told.node_time)
        return AuditRecord(
            told.actor,
            told.causation_id,
            told.client_address,
            told.command_id,
            told.details,
            told.event,
            told.fingerprint,
            told.key_id,
            told.masked_key,
            node_time,
            OUTCOMES[told.outcome],
            told.position,
            told.provider,
            told.reason,
            told.request_id,
            told.role,
            told.source,
            read_stream(told.stream),
            told.tenant_id,
            time,
            told.type,
            told.version,
        )
    except (ValueError, KeyError, ProofError):  # the errors of msgspec are of the first kind
        return None
