"""The language of the domain's tests: given(events).when(command).then(events), with a fixed clock, sealed in clear."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from domain.credentials.commands import Command, DeleteCredential, Precondition, SetCredential
from domain.credentials.credential import (
    Credential,
    CredentialDeleted,
    CredentialEvent,
    CredentialReencrypted,
    CredentialSet,
    decide,
    evolve,
    stream_id,
)
from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import SealContext, SealedSecret, Secret
from domain.credentials.service import CredentialService
from domain.errors import (
    CredentialIntegrityError,
    ServiceError,
    UnreadableCredentialError,
)
from domain.events.event import CommandMeta, time_text
from tests.support.twins.current_credentials import MemoryCurrentCredentials
from tests.support.twins.log import MemoryLog

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TENANT = "11111111-1111-4111-8111-111111111111"
OTHER_TENANT = "22222222-2222-4222-8222-222222222222"
KEY, OTHER_KEY = "sk-first-key-xyz9", "sk-second-key-abc1"


class ClearSealer:
    """A sealer without a cipher: the token tells its place, so that a test can read it."""

    def __init__(self, key_id: str = "k0000000001", known: Sequence[str] = ("k0000000001",)) -> None:
        self.key_id, self.known = key_id, frozenset(known)

    @property
    def primary_id(self) -> str:
        return self.key_id

    def seal(self, secret: Secret, context: SealContext) -> SealedSecret:
        return SealedSecret(f"clear:{secret.reveal()}", repr(context), self.key_id)

    def open(self, sealed: SealedSecret, context: SealContext) -> Secret:
        if sealed.key_id not in self.known:
            raise UnreadableCredentialError(sealed.key_id, "key-not-in-keyring")
        if sealed.binding != repr(context):
            raise CredentialIntegrityError("binding")
        return Secret(sealed.token.removeprefix("clear:"))

    def check(self, sealed: SealedSecret, context: SealContext) -> None:
        self.open(sealed, context)

    def fingerprint(self, secret: Secret) -> str:
        return f"f-{self.key_id}-{sum(secret.reveal().encode()):x}"


def meta(command_id: str = "c-1", *, may_repeat: bool = False) -> CommandMeta:
    return CommandMeta("anna", "req-1", command_id, may_repeat)


def set_credential(
    key: str = KEY,
    *,
    tenant_id: str = TENANT,
    provider: str = "openai",
    config: CredentialConfig = CredentialConfig(),
    command_id: str = "c-1",
    may_repeat: bool = False,
    precondition: Precondition = Precondition(),
) -> SetCredential:
    return SetCredential(
        tenant_id, provider, Secret(key), config, meta(command_id, may_repeat=may_repeat), precondition
    )


def delete_credential(
    *,
    provider: str = "openai",
    command_id: str = "c-1",
    may_repeat: bool = False,
    precondition: Precondition = Precondition(),
) -> DeleteCredential:
    return DeleteCredential(TENANT, provider, meta(command_id, may_repeat=may_repeat), precondition)


def was_set(
    version: int = 1,
    key: str = KEY,
    config: CredentialConfig = CredentialConfig(),
    *,
    sealer: ClearSealer | None = None,
) -> CredentialSet:
    stream = stream_id(TENANT, "openai")
    context = SealContext(
        TENANT, "openai", stream, version, config.endpoint, config.api_version, config.deployment_name
    )
    return CredentialSet(
        originator_id=stream,
        originator_version=version,
        tenant_id=TENANT,
        provider="openai",
        actor="anna",
        request_id="req-1",
        command_id="c-1",
        timestamp=NOW,
        node_time=time_text(NOW),
        sealed=(sealer or ClearSealer()).seal(Secret(key), context),
        masked_key=Secret(key).masked(),
        config=config,
        set_at=NOW,
        fingerprint=(sealer or ClearSealer()).fingerprint(Secret(key)),
    )


def was_reencrypted(version: int, key: str = KEY, key_id: str = "k0000000002") -> CredentialReencrypted:
    sealed = was_set(version, key, sealer=ClearSealer(key_id)).sealed
    return CredentialReencrypted(
        originator_id=stream_id(TENANT, "openai"),
        originator_version=version,
        tenant_id=TENANT,
        provider="openai",
        actor="anna",
        request_id="req-1",
        command_id="c-1",
        timestamp=NOW,
        node_time=time_text(NOW),
        sealed=sealed,
        masked_key=Secret(key).masked(),
        config=CredentialConfig(),
        set_at=NOW,
        fingerprint=ClearSealer(key_id).fingerprint(Secret(key)),
    )


def was_deleted(version: int) -> CredentialDeleted:
    return CredentialDeleted(
        originator_id=stream_id(TENANT, "openai"),
        originator_version=version,
        tenant_id=TENANT,
        provider="openai",
        actor="anna",
        request_id="req-1",
        command_id="c-1",
        timestamp=NOW,
        node_time=time_text(NOW),
    )


@dataclass
class Outcome:
    state: Credential | None
    command: Command

    def _decide(self) -> list[CredentialEvent]:
        return list(decide(self.state, self.command, NOW, ClearSealer()))

    def then(self, *expected: CredentialEvent) -> None:
        assert self._decide() == list(expected)

    def then_nothing(self) -> None:
        assert self._decide() == []

    def then_refused(self, error: type[ServiceError]) -> None:
        with pytest.raises(error):
            self._decide()


@dataclass
class Given:
    state: Credential | None

    def when(self, command: Command) -> Outcome:
        return Outcome(self.state, command)


def given(*events: CredentialEvent) -> Given:
    return Given(evolve(events[-1]) if events else None)


def service(log: MemoryLog) -> CredentialService:
    return CredentialService(log, MemoryCurrentCredentials(log), ClearSealer(), lambda: NOW, pause=lambda seconds: None)


FAULTS = ["outage before the effect", "outage after the effect", "conflict after the effect"]
