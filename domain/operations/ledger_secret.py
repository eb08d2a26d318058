"""The ledger's own secret, from which fingerprints and the keys of personal members are derived, as the log keeps it.

Promises: one secret at a time, however many nodes start at once: each decides on the version of the keyring's stream
that it read. The secret is sealed once for each key that nodes hold, so it outlives every rotation of these keys.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from domain.events.event import CommandMeta, Event, envelope
from domain.events.event_definition import CREATE, ActionDefinition, EventDefinition, Subject
from domain.operations.encryption_keys import KEYRING_STREAM, KeyringEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSecretSealed(KeyringEvent):
    """The ledger's secret was sealed under a key. secret_id: of the secret. token: the sealed secret."""

    TOPIC: ClassVar[str] = "LedgerSecretSealed"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.ENCRYPTION_KEY,
        ActionDefinition(
            "secret-sealed", "the ledger's own secret is sealed under a key that did not open it before", CREATE
        ),
        sealed=("token",),
    )
    secret_id: str
    key_id: str
    token: str


@dataclass(frozen=True, slots=True)
class Sealings:
    """The secret in force and its sealings at one version of the keyring's stream.

    secret_id: None where there is no secret yet. tokens: by key id, the sealings of this secret.
    """

    version: int = 0
    secret_id: str | None = None
    tokens: Mapping[str, str] = field(default_factory=dict)


def sealings_in(events: Iterable[Event]) -> Sealings:
    """Return the sealings of the newest secret in the keyring's stream."""
    version, secret_id, tokens = 0, None, dict[str, str]()
    for event in events:
        version = event.originator_version
        if isinstance(event, LedgerSecretSealed):
            if event.secret_id != secret_id:
                secret_id, tokens = event.secret_id, {}
            tokens[event.key_id] = event.token
    return Sealings(version, secret_id, tokens)


def seal_for(
    known: Sealings, secret_id: str, tokens: Sequence[tuple[str, str]], meta: CommandMeta, now: datetime
) -> list[LedgerSecretSealed]:
    """Return an event for each sealing of a secret. tokens: key ids, each with the secret sealed under that key."""
    return [
        LedgerSecretSealed(
            **envelope(KEYRING_STREAM, known.version + nth, meta, now), secret_id=secret_id, key_id=key_id, token=token
        )
        for nth, (key_id, token) in enumerate(tokens, start=1)
    ]
