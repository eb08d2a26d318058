"""An audit record as a leaf of the Merkle tree: who did what, when, with what outcome. No secret, no hash of one.

Promises: a record has exactly one encoding, canonical JSON in UTF-8 (sorted members, no white space), so the leaf hash
can be computed from the record alone. Refuses: any other encoding, and missing, unknown or mistyped members, with
`ProofError`. Standards: RFC 8259 (JSON), RFC 3339 for times. The members are fixed, because a signed leaf is never
rewritten.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from domain.audit.request_events import Outcome
from domain.proofs.errors import ProofError
from domain.proofs.tiles import MAX_ENTRY_SIZE

_TIME = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}\+00:00")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
"""The form of `event`."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME_EXPECTED = "time: RFC 3339 in UTC with microseconds and +00:00 expected"
_DECODER = json.JSONDecoder()
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


class AuditRecord(NamedTuple):
    """One record of the audit log, with its members in the order of the leaf.

    position: in the log, from 1. stream, version: the record's place in its stream, from 1. type: the topic of the
    event. time: UTC; it never goes back. node_time: as the clock of the node that wrote the event told it. event:
    "sha256:" and the digest of the stored row. role, source: of the caller, and the way the command came in.
    causation_id: of what caused the command. client_address, reason: None if unknown. tenant_id, provider, masked_key,
    key_id, fingerprint: None if they do not apply. details: the members that only this type has.

    A tuple, because a verification makes millions of records and no other immutable type is as fast.
    """

    actor: str
    causation_id: str | None
    client_address: str | None
    command_id: str
    details: Mapping[str, Any]
    event: str
    fingerprint: str | None
    key_id: str | None
    masked_key: str | None
    node_time: datetime
    outcome: Outcome
    position: int
    provider: str | None
    reason: str | None
    request_id: str
    role: str
    source: str
    stream: UUID
    tenant_id: str | None
    time: datetime
    type: str
    version: int


_MEMBERS = AuditRecord._fields
_NAMES = frozenset(_MEMBERS)
_OPTIONAL = frozenset(
    {"causation_id", "client_address", "fingerprint", "key_id", "masked_key", "provider", "reason", "tenant_id"}
)
_NUMBERS = frozenset({"position", "version"})
OUTCOMES = {outcome.value: outcome for outcome in Outcome}
"""Outcomes by their spelling."""


def spell(members: Mapping[str, Any]) -> bytes:
    """Return the encoding of a record's members, without checking them."""
    return _ENCODER.encode(members).encode()


def decode_record(leaf: bytes) -> AuditRecord:
    """Return the record in a leaf. Raises ProofError."""
    if len(leaf) > MAX_ENTRY_SIZE:
        raise ProofError(f"a record has at most {MAX_ENTRY_SIZE} bytes")
    try:
        members = _DECODER.decode(leaf.decode())
        canonical = spell(members) == leaf
    except (ValueError, RecursionError):
        raise ProofError("not JSON") from None
    if type(members) is not dict or members.keys() != _NAMES:
        raise ProofError("missing or unknown members")
    if not canonical:
        raise ProofError("not canonical JSON: sorted members, no white space")
    _require_types(tuple(map(type, members.values())))
    if members["position"] < 1 or members["version"] < 1:
        raise ProofError("position, version: a number from 1 on expected")
    if members["outcome"] not in OUTCOMES:
        raise ProofError(f"outcome: one of {', '.join(Outcome)} expected")
    if not DIGEST.fullmatch(members["event"]):
        raise ProofError("event: sha256 and 64 hexadecimal digits expected")
    members["stream"] = read_stream(members["stream"])
    members["outcome"] = OUTCOMES[members["outcome"]]
    members["node_time"] = read_time(members["node_time"])
    members["time"] = read_time(members["time"])
    return AuditRecord._make(members.values())


@lru_cache(1 << 10)
def _require_types(types: tuple[type, ...]) -> None:
    """Raise ProofError unless the members, in their order, have these types.

    Cached: few combinations occur.
    """
    for name, kind in zip(_MEMBERS, types, strict=True):
        if name in _NUMBERS:
            if kind is not int:
                raise ProofError(f"{name}: a number from 1 on expected")
        elif name == "details":
            if kind is not dict:
                raise ProofError("details: an object expected")
        elif kind is not str and not (name in _OPTIONAL and kind is type(None)):
            raise ProofError(f"{name}: a text expected")


@lru_cache(1 << 16)
def read_stream(text: str) -> UUID:
    """Return the stream of a record. Raises ProofError for a UUID in another spelling."""
    if not _UUID.fullmatch(text):
        raise ProofError("stream: a UUID in canonical spelling expected")
    return UUID(text)


def read_time(text: str) -> datetime:
    """Return a time of a record. Raises ProofError for any but the one spelling."""
    if not _TIME.fullmatch(text):
        raise ProofError(_TIME_EXPECTED)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ProofError(_TIME_EXPECTED) from None
