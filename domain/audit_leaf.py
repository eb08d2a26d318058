"""The leaf of one event in the tree over the log: the audit record of the event, with a digest of its row.

Promises: a leaf is a pure function of a stored row, the same on every machine and for ever; any changed byte of the row
changes it. It holds no secret, and no digest of one that anybody could try: the digest covers a sealed token, which is
random. The members are those of `domain.audit_record`.
"""

from datetime import UTC
from hashlib import sha256
from uuid import UUID

from domain.audit import facts_of
from domain.audit_record import spell
from domain.event import Event


def row_digest(position: int, stream: UUID, version: int, topic: str, state: bytes) -> str:
    """Return `sha256:` and the digest of a row, each part behind its length, so that no two rows read the same."""
    parts = (stream.bytes, str(version).encode(), topic.encode(), state, str(position).encode())
    framed = b"".join([len(part).to_bytes(4, "big") + part for part in parts])
    return f"sha256:{sha256(framed).hexdigest()}"


def leaf_of(position: int, event: Event, state: bytes) -> bytes:
    """Return the leaf of an event. position: in the log, from 1. state: its members as they are stored."""
    facts = facts_of(event)
    return spell(
        {
            "position": position,
            "stream": str(event.originator_id),
            "version": event.originator_version,
            "type": event.TOPIC,
            "time": event.timestamp.astimezone(UTC).isoformat(timespec="microseconds"),
            "event": row_digest(position, event.originator_id, event.originator_version, event.TOPIC, state),
            "actor": event.actor,
            "role": event.role,
            "source": event.source,
            "request_id": event.request_id,
            "command_id": event.command_id,
            "client_address": event.client_address,
            "reason": event.reason,
            "outcome": facts.outcome,
            "tenant_id": facts.tenant_id,
            "provider": facts.provider,
            "masked_key": facts.masked_key,
            "key_id": facts.key_id,
            "fingerprint": facts.fingerprint,
            "details": facts.details,
        }
    )
