"""The leaf of one event in the tree over the log: canonical JSON of what an auditor is told, and a digest of the row.

    {"actor":"anna",...,"event":"sha256:<digest of the stored row>",...,"position":41,...,"type":"CredentialSet",...}

Promises: a leaf is a pure function of a stored row, the same on every machine and for ever; any changed byte of the row
changes it. It holds no secret, and no digest of one that anybody could try: the digest covers a sealed token, which is
random. Members: see `leaf_of`.
"""

import json
from datetime import UTC
from hashlib import sha256
from uuid import UUID

from domain.audit import facts_of
from domain.event import Event

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def row_digest(position: int, stream: UUID, version: int, topic: str, state: bytes) -> str:
    """Return `sha256:` and the digest of a row, each part behind its length, so that no two rows read the same."""
    parts = (stream.bytes, str(version).encode(), topic.encode(), state, str(position).encode())
    framed = b"".join([len(part).to_bytes(4, "big") + part for part in parts])
    return f"sha256:{sha256(framed).hexdigest()}"


def leaf_of(position: int, event: Event, state: bytes) -> bytes:
    """Return the leaf of an event. position: in the log, from 1. state: its members as they are stored."""
    facts = facts_of(event)
    return _encode(
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
    ).encode()
