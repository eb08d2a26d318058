"""The configuration of a service as one immutable value, and the one place that holds the value in force.

Promises: a call takes the value in force when it begins and uses it to its end. A reload replaces the value as a whole,
so no call sees half of a change. No part keeps a setting that a reload can change.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from domain.calls.prices import PriceTable
from domain.credentials.secret import Sealer, Secret
from domain.events.event_code import CodeKey
from keyledger.encryption.keyring import EncryptionKey, Fingerprint, Keyring, NoKeyring
from keyledger.encryption.secret_keeping import SecretKeys
from keyledger.proofs.signing_keys import LogSigner
from keyledger.settings.ai_models import Catalogue, load_catalogue
from keyledger.settings.price_table import prices_of
from keyledger.settings.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings with the catalogue and keys they name.

    keys: the first one seals, all of them open; none while tenant credentials are off. prices: of models.
    """

    settings: Settings
    catalogue: Catalogue
    keys: tuple[Secret, ...]
    keyring: Keyring | None
    prices: PriceTable = field(default_factory=PriceTable)

    def sealer(self, fingerprint: Fingerprint) -> Sealer:
        """Return the keyring with the ledger's fingerprints; one that seals nothing where there are no keys."""
        return self.keyring.with_fingerprints(fingerprint) if self.keyring is not None else NoKeyring()

    @property
    def code_keys(self) -> tuple[CodeKey, ...]:
        """The keys that authenticate events, that of new events first."""
        return code_keys_of(self.keys or self.settings.unused_encryption_keys, self.settings.audit_signing_key)

    @property
    def next_id(self) -> str | None:
        """The key id of ENCRYPTION_KEY_NEXT while another key seals, else None."""
        coming = self.settings.next_encryption_key
        return None if coming is None or not self.keys or coming == self.keys[0] else EncryptionKey(coming).key_id

    def sealing_with_next(self) -> "Configuration":
        """Return the same configuration with ENCRYPTION_KEY_NEXT as the key that seals."""
        keys = keys_with_next_first(self.settings)
        return replace(self, keys=keys, keyring=Keyring(keys[0], keys[1:]))


def configuration_of(settings: Settings) -> Configuration:
    """Read the catalogue and the prices, and make the keyring, in which ENCRYPTION_KEY seals. Raises SettingsError."""
    catalogue = load_catalogue(settings.ai_models_file, settings.providers)
    return Configuration(settings, catalogue, keys_of(settings), keyring_of(settings), prices_of(settings))


def keyring_of(settings: Settings) -> Keyring | None:
    """Return the ring in which ENCRYPTION_KEY seals and every key opens; None while tenant credentials are off."""
    keys = keys_of(settings)
    return Keyring(keys[0], keys[1:]) if keys else None


def code_keys_of(encryption_keys: Sequence[Secret], signing_key: Secret | None) -> tuple[CodeKey, ...]:
    """Return the keys that authenticate events; the first one authenticates new ones.

    encryption_keys: the one that seals first; they authenticate events even while tenant credentials are off.
    signing_key: of the audit log.
    """
    ring = Keyring(encryption_keys[0], encryption_keys[1:]) if encryption_keys else None
    return (*(ring.code_keys if ring else ()), *((LogSigner(signing_key).code_key,) if signing_key else ()))


def keys_of(settings: Settings) -> tuple[Secret, ...]:
    """Return every encryption key, ENCRYPTION_KEY first."""
    others = (settings.next_encryption_key, *settings.previous_encryption_keys)
    return tuple(key for key in (settings.encryption_key, *others) if key is not None)


def every_key_of(settings: Settings) -> tuple[Secret, ...]:
    """Return every encryption key, also those that seal no credential because tenant credentials are off."""
    return keys_of(settings) or settings.unused_encryption_keys


def keys_with_next_first(settings: Settings) -> tuple[Secret, ...]:
    """Return every encryption key, ENCRYPTION_KEY_NEXT first where there is one."""
    coming = settings.next_encryption_key
    keys = (coming, settings.encryption_key, *settings.previous_encryption_keys)
    return tuple(key for key in keys if key is not None)


def secret_keys_of(settings: Settings) -> SecretKeys:
    """Return the keys that seal and open the ledger's own secret."""
    return SecretKeys.of(every_key_of(settings), settings.audit_signing_key, declared_lost=settings.allow_unreadable)


class Current(Generic[T]):
    """Holds the value in force."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._changing = threading.Lock()

    def __call__(self) -> T:
        """Return the value in force."""
        return self._value

    def change(self, decide: Callable[[T], T]) -> None:
        """Replace the value in force by what `decide` makes of it, for calls that begin from then on.

        Changes are made one at a time. When `decide` raises, nothing changes.
        """
        with self._changing:
            self._value = decide(self._value)
