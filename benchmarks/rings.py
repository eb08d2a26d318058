"""Keyrings that seal outside a ledger, with the fingerprints that one ledger would give."""

import secrets
from collections.abc import Iterable

from domain.credentials.secret import Secret
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.ledger_secret import KEY_SIZE, LedgerSecret

_SECRET = LedgerSecret(secrets.token_bytes(KEY_SIZE))


def sealing_ring(primary: Secret, previous: Iterable[Secret] = ()) -> Keyring:
    """Return a ring of these keys."""
    return Keyring(primary, previous, _SECRET.fingerprint)
