"""Leaves of the hash tree from events that `projections.quick_events` accepted: the bytes of `domain.audit.leaf`.

Promises: only for members without an escape, which therefore need none in the leaf, so they are written as they are.
"""

from domain.audit.leaf import row_digest
from domain.events.event_code import LogRow
from domain.events.personal import shown_in_proofs
from projections.quick_events import Quick, SealedMembers

_SETTINGS = ("api_version", "deployment_name", "endpoint")
"""In the order of the leaf."""


def leaf_from(quick: Quick, row: LogRow) -> bytes | None:
    """Return the leaf of an event; None if `domain.audit.leaf.leaf_of` has to write it."""
    if b"\\" in row.state:
        return None
    told = quick.members
    details = fingerprint = key_id = masked_key = None
    if isinstance(told, SealedMembers):
        fingerprint, key_id, masked_key = shown_in_proofs(told.fingerprint), told.key_id, told.masked_key
        if told.endpoint or told.api_version or told.deployment_name:
            settings = ((name, getattr(told, name)) for name in _SETTINGS)
            details = ",".join(f'"{name}":"{value}"' for name, value in settings if value is not None)
    return (
        f'{{"actor":"{shown_in_proofs(told.actor)}","causation_id":{_or_null(told.causation_id)}'
        f',"client_address":{_shown(told.client_address)}'
        f',"command_id":"{told.command_id}","details":{{{details or ""}}}'
        f',"event":"{row_digest(row)}","fingerprint":{_or_null(fingerprint)},"key_id":{_or_null(key_id)}'
        f',"masked_key":{_or_null(masked_key)},"node_time":"{told.node_time}"'
        f',"outcome":"success","position":{row.position}'
        f',"provider":"{told.provider}","reason":{_shown(told.reason)},"request_id":"{told.request_id}"'
        f',"role":"{told.role}","source":"{told.source}","stream":"{row.stream}"'
        f',"tenant_id":"{told.tenant_id}","time":"{told.timestamp}","type":"{row.topic}"'
        f',"version":{row.version}}}'
    ).encode()


def _shown(text: str | None) -> str:
    return "null" if text is None else f'"{shown_in_proofs(text)}"'


def _or_null(text: str | None) -> str:
    return "null" if text is None else f'"{text}"'
