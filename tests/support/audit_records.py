"""Audit records in the order of a log, each with the position and the version that it has to have."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from domain.audit.record import AuditRecord, decode_record, spell
from domain.audit.request_events import Outcome
from domain.credentials.credential import stream_id
from domain.operations.encryption_keys import KEYRING_STREAM
from domain.proofs.errors import ProofError

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ANNA = "00000000-0000-4000-8000-00000000000a"
BRUNO = "00000000-0000-4000-8000-00000000000b"
REQUESTS = UUID("00000000-0000-5000-8000-0000000000ff")
"""A stream that tenants share."""


def encode_record(record: AuditRecord) -> bytes:
    """Return the leaf of a record. Raises ProofError for one that would not be read back, or is too long."""
    members = {name: getattr(record, name) for name in AuditRecord._fields}
    if record.time.utcoffset() is None or record.time.utcoffset():
        raise ProofError("time: UTC expected")
    members["stream"] = str(record.stream)
    members["time"] = record.time.isoformat(timespec="microseconds")
    members["node_time"] = record.node_time.isoformat(timespec="microseconds")
    members["outcome"] = str(record.outcome)
    try:
        leaf = spell(members)
    except (ValueError, TypeError, RecursionError):
        raise ProofError("details: JSON expected") from None
    decode_record(leaf)
    return leaf


class Records:
    """Makes records one after the other, each with the position and the version that it has to have."""

    def __init__(self) -> None:
        self.leaves: list[bytes] = []
        self._versions: dict[UUID, int] = {}

    def add(self, kind: str, stream: UUID, **members: Any) -> "Records":
        """Add a record; `members` are put in the place of what would be right."""
        position = len(self.leaves) + 1
        self._versions[stream] = members.get("version", self._versions.get(stream, 0) + 1)
        members = {
            "position": position,
            "stream": stream,
            "version": self._versions[stream],
            "type": kind,
            "time": BEGIN + timedelta(seconds=position),
            "node_time": BEGIN + timedelta(seconds=position),
            "event": f"sha256:{position:064x}",
            "actor": "olga",
            "role": "sysadmin",
            "source": "api",
            "request_id": f"req-{position}",
            "command_id": str(uuid5(REQUESTS, str(position))),
            "causation_id": None,
            "client_address": "192.0.2.1",
            "reason": None,
            "outcome": Outcome.SUCCESS,
            "tenant_id": None,
            "provider": None,
            "masked_key": None,
            "key_id": None,
            "fingerprint": None,
            "details": {},
            **members,
        }
        self.leaves.append(encode_record(AuditRecord(**members)))
        return self

    def credential(self, kind: str, tenant: str = ANNA, provider: str = "openai", **members: Any) -> "Records":
        """Add a record of a credential, `kind` being what follows "Credential"."""
        place = {"tenant_id": tenant, "provider": provider, **members}
        return self.add(f"Credential{kind}", place.pop("stream", stream_id(tenant, provider)), **place)

    def key(self, kind: str, key_id: str | None = "k0000000001", **members: Any) -> "Records":
        """Add a record of the encryption keys."""
        return self.add(kind, members.pop("stream", KEYRING_STREAM), key_id=key_id, **members)


def story() -> Records:
    """A log with everything in it that the rules speak of."""
    rotation = {"rotation_id": "r-1"}
    return (
        Records()
        .key("EncryptionKeyIntroduced")
        .credential("Set")
        .credential("Set", BRUNO)
        .credential("Set")
        .add("RequestRefused", REQUESTS, tenant_id=BRUNO, outcome=Outcome.DENIED)
        .add("RequestRefused", REQUESTS, tenant_id=ANNA, outcome=Outcome.DENIED, reason="no such right: é")
        .key("EncryptionKeyIntroduced", "k0000000002")
        .key("KeyRotationStarted", "k0000000002", details=rotation)
        .credential("Reencrypted")
        .credential("Reencrypted", BRUNO)
        .key("KeyRotationCompleted", "k0000000002", details={**rotation, "seconds": 1.5})
        .key("EncryptionKeyRetired")
        .credential("Deleted")
        .credential("Set")
        .key("EncryptionKeyIntroduced")
    )


def many(count: int) -> list[bytes]:
    """As many records as asked for, of one tenant's credentials."""
    records = Records()
    for number in range(count):
        records.credential("Set", provider=f"provider-{number % 7}")
    return records.leaves
