"""The leaf of one event in the tree over the log: the audit record of the event, with a digest of its row.

Promises: a leaf is a pure function of a stored row, the same on every machine and for ever; changing any byte of the
row changes the leaf. It holds no secret, and no digest that would let one be guessed: the digest covers a sealed token,
which is random. Sealed personal members are shown as their commitments, so no key is needed, now or later. The members
are those of `domain.audit.record`.
"""

from hashlib import sha256
from json.encoder import encode_basestring as _text

from domain.audit.entries import facts_of
from domain.audit.record import spell
from domain.events.event import Event, time_text
from domain.events.event_code import LogRow
from domain.events.framing import framed
from domain.events.personal import shown_in_proofs


def row_digest(row: LogRow) -> str:
    """Return `sha256:` and the digest of a row. The length before each part keeps rows from being hashed alike."""
    position, stream, version, topic, state, key_id, code = row
    key = (key_id or "").encode()
    parts = framed(stream.bytes, b"%d" % version, topic.encode(), state, b"%d" % position, key, code or b"")
    return f"sha256:{sha256(parts).hexdigest()}"


def leaf_of(event: Event, row: LogRow) -> bytes:
    """Return the leaf of an event. row: as the log holds it.

    The result equals `record.spell` of the members; writing them in order is faster, and a replay makes millions.
    """
    outcome, tenant_id, provider, masked_key, key_id, fingerprint, details = facts_of(event)
    if hidden := event.DEFINITION.of_person:
        details = {name: _committed(value) if name in hidden else value for name, value in details.items()}
    digest = row_digest(row)
    time = time_text(event.timestamp)
    return (
        f'{{"actor":{_personal(event.actor)},"causation_id":{_or_null(event.causation_id)}'
        f',"client_address":{_personal(event.client_address)}'
        f',"command_id":{_text(event.command_id)},"details":{spell(details).decode() if details else "{}"}'
        f',"event":"{digest}","fingerprint":{_personal(fingerprint)},"key_id":{_or_null(key_id)}'
        f',"masked_key":{_or_null(masked_key)},"node_time":"{event.node_time}"'
        f',"outcome":{_text(outcome)},"position":{row.position}'
        f',"provider":{_or_null(provider)},"reason":{_personal(event.reason)},"request_id":{_text(event.request_id)}'
        f',"role":{_text(event.role)},"source":{_text(event.source)},"stream":"{event.originator_id}"'
        f',"tenant_id":{_or_null(tenant_id)},"time":"{time}","type":"{event.TOPIC}"'
        f',"version":{event.originator_version}}}'
    ).encode()


def _personal(text: str | None) -> str:
    return "null" if text is None else _text(shown_in_proofs(text))


def _committed(value: str | float) -> str | float:
    return shown_in_proofs(value) if isinstance(value, str) else value


def _or_null(text: str | None) -> str:
    return "null" if text is None else _text(text)
