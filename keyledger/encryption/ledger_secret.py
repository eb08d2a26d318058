"""The ledger's own secret and what is derived from it: the module that seals and opens what is personal.

    secret_id    "s" + 10 hexadecimal digits of HKDF-SHA256(secret, info="keyledger/v1/secret-id")
    fingerprint  "f" + 16 hexadecimal digits of HMAC-SHA256 over an API key
    lookup       HMAC-SHA256 over the kind and the name of a person or tenant, each preceded by its length
    sealed key   nonce, then AES-256-GCM over the key of a person or tenant; authenticated: its reference
    cookie       nonce, then AES-256-GCM over what a browser keeps; authenticated: its purpose
    box          nonce, then AES-256-GCM over the opening and the value of a member, under HKDF-SHA256 of all keys that
                 open it; authenticated: stream, version and name of the member

Promises: the secret outlives rotations of the encryption key, so an API key keeps its fingerprint. What is sealed opens
only in its own place. No repr shows a secret.
Standards: RFC 2104 (HMAC), RFC 5869 (HKDF), NIST SP 800-38D (GCM).
"""

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from domain.credentials.secret import Secret
from domain.errors import CredentialIntegrityError
from domain.events.framing import framed
from domain.events.personal import (
    OPENING_SIZE,
    Disclosure,
    Place,
    SealedMember,
    commitment_of,
    spell,
    to_bytes,
    to_text,
)
from keyledger.encryption.keyring import EncryptionKey, derive

KEY_SIZE, _NONCE_SIZE = 32, 12
_SIGNING = "a"  # begins the ids of keys that sign checkpoints


def random_key() -> bytes:
    """Return a new secret or key: 32 random bytes."""
    return os.urandom(KEY_SIZE)


class SecretKey:
    """A key that seals the ledger's secret for the nodes that have it. Its repr shows only the key id."""

    __slots__ = ("_cipher", "key_id")

    def __init__(self, key_id: str, material: bytes) -> None:
        self.key_id = key_id
        self._cipher = AESGCM(derive(material, "ledger-secret", KEY_SIZE))

    def __repr__(self) -> str:
        return f"<key of the ledger's secret {self.key_id}>"

    def seal(self, secret: "LedgerSecret") -> str:
        """Return the sealed secret as text."""
        return to_text(_encrypt(self._cipher, secret.raw, secret.secret_id.encode()))

    def open(self, secret_id: str, token: str) -> "LedgerSecret | None":
        """Return the secret of a token; None if the token is not this secret's, sealed under this key."""
        try:
            secret = LedgerSecret(_decrypt(self._cipher, to_bytes(token), secret_id.encode()))
        except (InvalidTag, ValueError):
            return None
        return secret if secret.secret_id == secret_id else None


def secret_key_of_encryption_key(key: Secret) -> SecretKey:
    """Return what seals the ledger's secret under an encryption key."""
    return SecretKey(EncryptionKey(key).key_id, key.reveal().encode())


def secret_key_of_signing_key(key: Secret) -> SecretKey:
    """Return what seals the ledger's secret under the key that signs checkpoints."""
    material = key.reveal().encode()
    return SecretKey(_SIGNING + derive(material, "key-id", 5).hex(), material)


def seals_by_signing_key(key_id: str) -> bool:
    """Return whether a key id is of a key that signs checkpoints."""
    return key_id.startswith(_SIGNING)


class LedgerSecret:
    """32 random bytes of one ledger. Its repr shows only the secret's id."""

    __slots__ = ("_cookies", "_fingerprints", "_lookups", "_sealing", "raw", "secret_id")

    def __init__(self, raw: bytes) -> None:
        """Raises ValueError for a secret of another size."""
        if len(raw) != KEY_SIZE:
            raise ValueError("32 bytes expected")
        self.raw = raw
        self.secret_id = "s" + derive(raw, "secret-id", 5).hex()
        # These two are never finalised, only copies of them.
        self._fingerprints = HMAC(derive(raw, "fingerprint", KEY_SIZE), SHA256())
        self._lookups = HMAC(derive(raw, "lookup", KEY_SIZE), SHA256())
        self._sealing = AESGCM(derive(raw, "personal-keys", KEY_SIZE))
        self._cookies = AESGCM(derive(raw, "cookies", KEY_SIZE))

    def __repr__(self) -> str:
        return f"<secret of the ledger {self.secret_id}>"

    def fingerprint(self, secret: Secret) -> str:
        """Return the fingerprint of an API key."""
        mac = self._fingerprints.copy()
        mac.update(secret.reveal().encode())
        return "f" + mac.finalize()[:8].hex()

    def lookup(self, kind: str, name: str) -> bytes:
        """Return the digest by which a person or tenant is found. kind: actor, address or tenant."""
        mac = self._lookups.copy()
        mac.update(framed(kind.encode(), name.encode()))
        return mac.finalize()

    def seal_cookie(self, purpose: str, value: bytes) -> str:
        """Return what a browser keeps, sealed. It opens on every node, and for the same purpose only."""
        return to_text(_encrypt(self._cookies, value, purpose.encode()))

    def open_cookie(self, purpose: str, sealed: str) -> bytes | None:
        """Return the value of a cookie; None if no node of this ledger sealed it for this purpose."""
        try:
            return _decrypt(self._cookies, to_bytes(sealed), purpose.encode())
        except (InvalidTag, ValueError):
            return None

    def seal_key(self, reference: str, key: bytes) -> bytes:
        """Return the sealed key of a person or tenant."""
        return _encrypt(self._sealing, key, reference.encode())

    def open_key(self, reference: str, sealed: bytes) -> bytes:
        """Return the key of a person or tenant. Raises CredentialIntegrityError for one that was changed or moved."""
        try:
            return _decrypt(self._sealing, sealed, reference.encode())
        except (InvalidTag, ValueError):
            raise CredentialIntegrityError("personal-key") from None


class MemberCipher:
    """Seals and opens members that are about the owners of some keys."""

    __slots__ = ("_cipher", "references")

    def __init__(self, references: Sequence[str], keys: Sequence[bytes]) -> None:
        """references: of the keys, in the same order."""
        self.references = tuple(references)
        self._cipher = AESGCM(derive(b"".join(keys), "member", KEY_SIZE))

    def seal(self, place: Place, value: str) -> str:
        """Return the sealed text of a member."""
        random = os.urandom(OPENING_SIZE + _NONCE_SIZE)  # one system call for both
        opening, nonce = random[:OPENING_SIZE], random[OPENING_SIZE:]
        box = nonce + self._cipher.encrypt(nonce, opening + value.encode(), _placed(place))
        return spell(self.references, commitment_of(place.member, value, opening), box)

    def open(self, place: Place, sealed: SealedMember) -> Disclosure:
        """Return the value of a member. Raises CredentialIntegrityError for one that was changed or moved."""
        try:
            opened = _decrypt(self._cipher, sealed.box, _placed(place))
            value, opening = opened[OPENING_SIZE:].decode(), opened[:OPENING_SIZE]
        except (InvalidTag, ValueError):
            raise CredentialIntegrityError("personal-member") from None
        if commitment_of(place.member, value, opening) != sealed.commitment:
            raise CredentialIntegrityError("personal-commitment")
        return Disclosure(value, opening)


def _placed(place: Place) -> bytes:
    return place.stream.bytes + place.version.to_bytes(8, "big") + place.member.encode()


def _encrypt(cipher: AESGCM, data: bytes, authenticated: bytes) -> bytes:
    nonce = os.urandom(_NONCE_SIZE)
    return nonce + cipher.encrypt(nonce, data, authenticated)


def _decrypt(cipher: AESGCM, sealed: bytes, authenticated: bytes) -> bytes:
    return cipher.decrypt(sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], authenticated)
