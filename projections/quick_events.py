"""Decodes the events of credentials, nearly all of a log, in less than half the time of `domain.event_codec`.

Promises: an event is accepted here only if `domain.event_codec.decode` accepts it, with the same members. Whatever this
refuses, or does not know, is judged there: other event types, a second class version, times in another spelling, an
event in another stream than its own. So nothing is accepted that was not, and errors are the same.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, NamedTuple

import msgspec

from domain.credentials.credential import CredentialDeleted, CredentialReencrypted, CredentialSet, stream_id
from domain.event_codec import members_of, read_time
from domain.events.event_code import LogRow

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class DeletedMembers(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The stored members of `CredentialDeleted`."""

    actor: _Text
    causation_id: _Text | None
    client_address: _Text | None
    command_id: _Text
    node_time: _Text
    provider: _Text
    reason: _Text | None
    request_id: _Text
    role: _Text
    source: _Text
    tenant_id: _Text
    timestamp: _Text


class SealedMembers(DeletedMembers, forbid_unknown_fields=True, gc=False):
    """The stored members of `CredentialSet` and `CredentialReencrypted`."""

    api_version: _Text | None
    binding: _Text
    deployment_name: _Text | None
    endpoint: _Text | None
    fingerprint: _Text
    key_id: _Text
    masked_key: _Text
    set_at: _Text
    token: _Text


class Quick(NamedTuple):
    """The members of an accepted event, as they are stored, and its two times."""

    members: DeletedMembers
    time: datetime
    node_time: datetime


_KINDS: Mapping[type[CredentialDeleted | CredentialSet | CredentialReencrypted], type[DeletedMembers]] = {
    CredentialDeleted: DeletedMembers,
    CredentialSet: SealedMembers,
    CredentialReencrypted: SealedMembers,
}
_DECODERS: Mapping[str, Callable[[bytes], DeletedMembers]] = {
    event.TOPIC: msgspec.json.Decoder(kind).decode
    for event, kind in _KINDS.items()
    if members_of(event) == frozenset(kind.__struct_fields__)
}
"""By topic. A type with other members than these, as after a change of its class version, is left to the other code."""


def quickly(row: LogRow) -> Quick | None:
    """Return the event of a row; None if `domain.event_codec.decode` has to judge it."""
    decode = _DECODERS.get(row.topic)
    if decode is None or row.version < 1:
        return None
    try:
        told = decode(row.state)
        if row.stream.int != stream_id(told.tenant_id, told.provider).int:
            return None
        stamp = told.timestamp
        time = read_time(stamp)
        node_time = time if told.node_time == stamp else read_time(told.node_time)
        if isinstance(told, SealedMembers) and told.set_at != stamp:
            read_time(told.set_at)
    except ValueError:  # those of msgspec are of this kind
        return None
    return Quick(told, time, node_time)
