"""Finds the ledger's own secret, makes it where there is none, and keeps it sealed under the keys that nodes hold.

Promises: all nodes use one secret, however many start at once. Every encryption key that a node has opens it, so it
is sealed under the next key before the former one can be retired. Where there are no encryption keys, it is sealed
under the key that signs checkpoints; where there is neither, it is kept in the database in clear, and the first key
that is configured seals it.
Refuses: to make another secret while the present one is sealed under keys that are not configured, unless they are
declared lost. What was sealed under a lost secret is lost with it.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg_pool import ConnectionPool

from domain.credentials.secret import Secret
from domain.errors import CredentialIntegrityError
from domain.events.event import Clock, CommandMeta
from domain.events.event_log import StreamLog
from domain.operations.encryption_keys import KEYRING_STREAM
from domain.operations.ledger_secret import LedgerSecretSealed, Sealings, seal_for, sealings_in
from keyledger.encryption.ledger_secret import (
    LedgerSecret,
    SecretKey,
    random_key,
    seals_by_signing_key,
    secret_key_of_encryption_key,
    secret_key_of_signing_key,
)
from keyledger.log.decided_append import append_decided
from keyledger.start_error import StartError
from projections.catch_up import read_row, read_stream
from projections.database.connections import BoundedConnection, unavailable


@dataclass(frozen=True, slots=True)
class SecretKeys:
    """The keys of the ledger's secret that a node has. sealing: every one of them is to open it. opening: all others.

    declared_lost: whether a secret that none of them opens may be replaced.
    """

    sealing: Sequence[SecretKey] = ()
    opening: Sequence[SecretKey] = ()
    declared_lost: bool = False

    @classmethod
    def of(
        cls, encryption_keys: Sequence[Secret], signing_key: Secret | None, *, declared_lost: bool = False
    ) -> "SecretKeys":
        """Return the keys that a configuration has."""
        sealing = [secret_key_of_encryption_key(key) for key in encryption_keys]
        signing = [] if signing_key is None else [secret_key_of_signing_key(signing_key)]
        return cls(sealing, signing, declared_lost) if sealing else cls(signing, (), declared_lost)


class SecretKeeper:
    """Holds the secret of one ledger for one process; reads it once."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], keys: SecretKeys) -> None:
        self._pool = pool
        self._keys = keys
        self._secret: LedgerSecret | None = None
        self._finding = threading.Lock()

    def __call__(self) -> LedgerSecret:
        """Return the secret. Raises StartError where no configured key opens it, StoreUnavailableError."""
        if (known := self._secret) is not None:
            return known
        with self._finding:
            secret = self._secret = self._secret or self._found(self._sealings())
            return secret

    def keep(self, keys: SecretKeys, log: StreamLog, meta: CommandMeta, clock: Clock) -> None:
        """Seal the secret under every key that does not open it yet; make it where there is none.

        Raises StartError where no key opens it, StoreUnavailableError, VersionConflictError.
        """

        def sealed() -> list[LedgerSecretSealed]:
            known = sealings_in(log.stream(KEYRING_STREAM))  # checks the codes of the events as well
            with self._finding:
                self._keys = keys
                secret = self._secret if self._secret_is(known) else None
                secret = self._secret = secret or self._found(known)
            tokens = known.tokens if known.secret_id == secret.secret_id else {}
            missing = [(key.key_id, key.seal(secret)) for key in keys.sealing if key.key_id not in tokens]
            return seal_for(known, secret.secret_id, missing, meta, clock())

        append_decided(log, sealed)
        if keys.sealing:
            self._forget_clear()

    def _secret_is(self, known: Sealings) -> bool:
        return self._secret is not None and known.secret_id in {None, self._secret.secret_id}

    def _found(self, known: Sealings) -> LedgerSecret:
        clear = None if known.secret_id else self._in_clear()
        known = known if known.secret_id else self._sealings()
        if known.secret_id is None:
            if clear is None:  # what removes it is a sealing, which is then in the log
                raise CredentialIntegrityError("ledger-secret-missing")
            return clear
        for key in (*self._keys.sealing, *self._keys.opening):
            if token := known.tokens.get(key.key_id):
                secret = key.open(known.secret_id, token)
                if secret is not None:
                    return secret
        if self._keys.declared_lost and self._keys.sealing:
            return LedgerSecret(random_key())
        raise StartError(
            f"the ledger's own secret is sealed under keys that are not configured: {', '.join(sorted(known.tokens))}."
            f" {_where_to_configure(known.tokens)}. If all of them are lost for good,"
            " set ALLOW_UNREADABLE_CREDENTIALS=true: names, addresses and reasons recorded until now are then lost"
        )

    def _in_clear(self) -> LedgerSecret | None:
        """Return the secret that waits to be sealed; None if it was sealed meanwhile. The first that asks makes it."""
        with unavailable(), self._pool.connection() as connection:
            connection.execute("INSERT INTO ledger_secret (secret) VALUES (%s) ON CONFLICT DO NOTHING", [random_key()])
            row = connection.execute("SELECT secret FROM ledger_secret").fetchone()
        return LedgerSecret(bytes(row["secret"])) if row is not None else None

    def _forget_clear(self) -> None:
        with unavailable(), self._pool.connection() as connection:
            connection.execute("DELETE FROM ledger_secret")

    def _sealings(self) -> Sealings:
        with unavailable(), self._pool.connection() as connection:
            return sealings_in(read_row(row).event for row in read_stream(connection, KEYRING_STREAM))


def _where_to_configure(key_ids: Iterable[str]) -> str:
    """Return the remedy: one key suffices, and a signing key sealed the secret only where there was no other."""
    if all(map(seals_by_signing_key, key_ids)):
        return "Configure the former AUDIT_SIGNING_KEY: it is needed until a node starts with it and an ENCRYPTION_KEY"
    return "Configure one of them as ENCRYPTION_KEY or in ENCRYPTION_KEY_PREVIOUS"
