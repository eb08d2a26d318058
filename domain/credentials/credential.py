"""A credential as a decider: its state, its events, and the two pure functions that connect them with commands.

`decide(state, command, now, sealer)` returns the events of a command; `evolve(event)` returns the state after an event.
Time, ids and cipher are arguments, so every run gives the same result.
Promises: versions grow by one. A set that changes nothing emits no event. Every event but the deletion carries the
whole state, so the last event of a stream is the credential. A key that is set, replaced or deleted is masked wherever
the caller's own texts (actor, reason, ids) contain it.
Refuses: a command whose precondition does not hold, deleting a credential that does not exist, settings that contain
the key they replace, and a placeholder in place of a live key.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import ClassVar, Self
from uuid import UUID, uuid5

from domain.credentials.commands import Command, DeleteCredential, Precondition, ReencryptCredential
from domain.credentials.key_shapes import holds_key
from domain.credentials.pasted_key import replacing_error
from domain.credentials.providers import CONFIG_FIELDS, SHOWN_CLEAR, CredentialConfig
from domain.credentials.recording import without_keys
from domain.credentials.secret import SealContext, SealedSecret, Sealer, Secret
from domain.errors import (
    CredentialNotFoundError,
    ErrorCode,
    InvalidField,
    InvalidRequestError,
    ServiceError,
    VersionConflictError,
)
from domain.events.event import Event, EventEnvelope, envelope
from domain.events.event_definition import CREATE, DELETE, UPDATE, ActionDefinition, EventDefinition, Subject

_STREAMS = UUID("6f1b7a3e-5d0c-5c7e-9a51-0d9b1f0c8e42")
STREAMS_KEPT = 1 << 16
"""A stream's id costs as much to compute as the rest of decoding an event; a replay meets each stream many times."""


@lru_cache(STREAMS_KEPT)
def stream_id(tenant_id: str, provider: str) -> UUID:
    """Return the id of the stream that holds the credential of a tenant for a provider."""
    return uuid5(_STREAMS, f"{tenant_id}/{provider}")


@dataclass(frozen=True, slots=True)
class Credential:
    """The state of one credential at one version. sealed: None after its deletion.

    set_at: when the key or its settings were last set; re-encryption does not change it. request_id: of the request
    that led to this version, as recorded; None in a state that was read from a projection.
    """

    tenant_id: str
    provider: str
    version: int
    sealed: SealedSecret | None
    masked_key: str | None
    config: CredentialConfig
    set_at: datetime | None
    request_id: str | None = field(default=None, compare=False)

    @property
    def context(self) -> SealContext:
        """The place where the sealed secret of this version may be used."""
        return _context(self.tenant_id, self.provider, self.version, self.config)


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialEvent(Event):
    """An event of a credential, in the stream of the credential."""

    tenant_id: str
    provider: str

    def own_stream(self) -> UUID:
        """Return the stream of the credential."""
        return stream_id(self.tenant_id, self.provider)


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialSealed(CredentialEvent):
    """An event that carries the whole state of a live credential.

    fingerprint: equal for equal API keys, across tenants; see `Sealer.fingerprint`.
    """

    sealed: SealedSecret
    masked_key: str
    config: CredentialConfig
    set_at: datetime
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialSet(CredentialSealed):
    """A key was stored, for the first time or replacing another."""

    TOPIC: ClassVar[str] = "CredentialSet"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.CREDENTIAL,
        ActionDefinition("set", "a credential is set where there is none", CREATE),
        action_again=ActionDefinition(
            "replaced", "a credential is set again, with another key or other settings", UPDATE
        ),
        of_tenant=("fingerprint",),
    )

    def at(self, time: datetime) -> Self:
        """Return the same event at another time, which is also when the key was set."""
        return replace(self, timestamp=time, set_at=time)


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialDeleted(CredentialEvent):
    """The credential was deleted."""

    TOPIC: ClassVar[str] = "CredentialDeleted"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.CREDENTIAL,
        ActionDefinition("deleted", "a credential is deleted", DELETE),
        removes=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialReencrypted(CredentialSealed):
    """The same key was sealed under another encryption key."""

    TOPIC: ClassVar[str] = "CredentialReencrypted"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.CREDENTIAL,
        ActionDefinition(
            "reencrypted", "a rotation seals a credential under another encryption key", UPDATE, "re-encrypted"
        ),
        of_tenant=("fingerprint",),
    )


def evolve(event: Event) -> Credential:
    """Return the state after `event`. The state before it is not needed, because events carry the whole state.

    Raises TypeError for an event that is not about a credential.
    """
    if isinstance(event, CredentialSealed):
        return Credential(
            event.tenant_id,
            event.provider,
            event.originator_version,
            event.sealed,
            event.masked_key,
            event.config,
            event.set_at,
            event.request_id,
        )
    if isinstance(event, CredentialDeleted):
        return Credential(
            event.tenant_id,
            event.provider,
            event.originator_version,
            None,
            None,
            CredentialConfig(),
            None,
            event.request_id,
        )
    raise TypeError(f"no rule for {type(event).__name__}")


def decide(
    state: Credential | None, command: Command, now: datetime, sealer: Sealer, *, repair: bool = False
) -> Sequence[CredentialEvent]:
    """Return the events that `command` causes in `state` at `now` (UTC); none if nothing would change.

    repair: the projection does not show `state`, or nothing proves that it was deleted, so the command is stored even
    if it changes nothing.

    Raises VersionConflictError when the precondition does not hold, CredentialNotFoundError when there is nothing to
    delete or to re-encrypt, InvalidRequestError for settings that contain the key they replace and for a placeholder
    that would replace a key. A re-encryption raises the sealer's errors for a credential that cannot be opened.
    """
    live = state is not None and state.sealed is not None
    version = state.version if state is not None else 0
    _require(command.precondition, version, live=live)
    if isinstance(command, ReencryptCredential):
        return _reencrypted(state, command, now, sealer)
    stored = _opened(state, sealer)
    if isinstance(command, DeleteCredential):
        if not live and not (repair and version):
            raise CredentialNotFoundError(command.tenant_id, command.provider)
        return [CredentialDeleted(**_envelope(command, version + 1, now, stored))]
    if state is not None and not repair and stored == [command.secret] and command.says(state.config):
        return []
    _require_no_key(command.config, stored)
    if live and (error := replacing_error(command.secret.reveal(), [one.reveal() for one in stored])):
        raise InvalidRequestError([InvalidField("api_key", error)], ErrorCode.INVALID_CREDENTIAL)
    context = _context(command.tenant_id, command.provider, version + 1, command.config)
    return [
        CredentialSet(
            **_envelope(command, version + 1, now, [command.secret, *stored]),
            sealed=sealer.seal(command.secret, context),
            masked_key=command.secret.masked(),
            config=command.config,
            set_at=now,
            fingerprint=sealer.fingerprint(command.secret),
        )
    ]


def _reencrypted(
    state: Credential | None, command: ReencryptCredential, now: datetime, sealer: Sealer
) -> Sequence[CredentialEvent]:
    if state is None or state.sealed is None or state.masked_key is None or state.set_at is None:
        raise CredentialNotFoundError(command.tenant_id, command.provider)
    if state.sealed.key_id == sealer.primary_id:
        return []
    secret = sealer.open(state.sealed, state.context)
    context = _context(state.tenant_id, state.provider, state.version + 1, state.config)
    return [
        CredentialReencrypted(
            **_envelope(command, state.version + 1, now),
            sealed=sealer.seal(secret, context),
            masked_key=state.masked_key,
            config=state.config,
            set_at=state.set_at,
            fingerprint=sealer.fingerprint(secret),
        )
    ]


def _require(precondition: Precondition, version: int, *, live: bool) -> None:
    wrong_version = precondition.versions is not None and (not live or version not in precondition.versions)
    wrong_existence = precondition.exists is not None and precondition.exists != live
    if wrong_version or wrong_existence:
        raise VersionConflictError(version, precondition=True)


def _opened(state: Credential | None, sealer: Sealer) -> Sequence[Secret]:
    """Return the present key; none if it cannot be opened, because setting it again is then the remedy."""
    if state is None or state.sealed is None:
        return []
    try:
        return [sealer.open(state.sealed, state.context)]
    except ServiceError:
        return []


def _require_no_key(config: CredentialConfig, stored: Sequence[Secret]) -> None:
    """Raise InvalidRequestError for settings that contain the key they replace; settings cannot be masked."""
    holding = [name for name in CONFIG_FIELDS if (text := getattr(config, name)) and holds_key(text, stored)]
    if holding:
        raise InvalidRequestError([InvalidField(name, SHOWN_CLEAR) for name in holding], ErrorCode.INVALID_CREDENTIAL)


class _CredentialEnvelope(EventEnvelope):
    tenant_id: str
    provider: str


def _envelope(command: Command, version: int, now: datetime, keys: Sequence[Secret] = ()) -> _CredentialEnvelope:
    """keys: masked in the caller's texts."""
    stream = stream_id(command.tenant_id, command.provider)
    return {
        **envelope(stream, version, without_keys(command.meta, keys), now),
        "tenant_id": command.tenant_id,
        "provider": command.provider,
    }


def _context(tenant_id: str, provider: str, version: int, config: CredentialConfig) -> SealContext:
    return SealContext(
        tenant_id,
        provider,
        stream_id(tenant_id, provider),
        version,
        config.endpoint,
        config.api_version,
        config.deployment_name,
    )
