"""The encryption keys; the only module that encrypts and decrypts secrets.

    token    "enc:fernet:v1:" + Fernet(ENCRYPTION_KEY).encrypt(api_key)
    key_id   "k" + 10 hexadecimal digits of HKDF-SHA256(raw key, info="keyledger/v1/key-id")
    binding  "hmac-sha256:v1:" + base64url of HMAC-SHA256(HKDF-SHA256(raw key, info="keyledger/v1/binding"), parts)
             parts, each preceded by its length, four bytes: tenant_id, provider, stream id, version,
             canonical JSON of endpoint, api_version and deployment_name, key_id, token
    event code   `domain.events.event_code`, keyed with HKDF-SHA256(raw key, info="keyledger/v1/event-code")
    node code    HMAC-SHA256 keyed with HKDF-SHA256(raw key, info="keyledger/v1/node"), of rows of the table `nodes`

Promises: a token opens only under the key of its key id, and only in the place for which it was sealed. The binding is
checked, in constant time, before anything is decrypted. Fingerprints are those of the ledger
(`keyledger.encryption.ledger_secret`), so they outlive a key.
Refuses: to try other keys, a missing or wrong binding, an unknown prefix. Errors carry the key id and a code.
Standards: Fernet specification, RFC 2104 (HMAC), RFC 5869 (HKDF).
"""

import base64
import hmac
import json
from collections.abc import Callable, Iterable
from copy import copy
from functools import lru_cache
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.credentials.secret import SealContext, SealedSecret, Secret
from domain.errors import CredentialIntegrityError, UnreadableCredentialError
from domain.events.event_code import CodeKey, shown_key_id
from domain.events.framing import framed

TOKEN_PREFIX = "enc:fernet:v1:"  # noqa: S105  names the format
BINDING_PREFIX = "hmac-sha256:v1:"
Fingerprint = Callable[[Secret], str]
"""Returns the fingerprint of an API key."""


def generate_encryption_key() -> Secret:
    """Return a new random Fernet key, 44 characters."""
    return Secret(Fernet.generate_key().decode())


class EncryptionKey:
    """One Fernet key and the values derived from it. Its repr shows only the key id."""

    __slots__ = ("_fernet", "_framed_id", "_mac", "_node_mac", "code_key", "key_id")

    def __init__(self, key: Secret) -> None:
        """key: 32 bytes in url-safe base64. Raises ValueError, without the value, for anything else."""
        try:
            raw = base64.urlsafe_b64decode(key.reveal().encode())
            self._fernet = Fernet(key.reveal().encode())
        except ValueError:
            raise ValueError("not a Fernet key: 32 bytes in url-safe base64, 44 characters") from None
        # These are never finalised, only copies of them.
        self._mac = HMAC(derive(raw, "binding", 32), SHA256())
        self._node_mac = HMAC(derive(raw, "node", 32), SHA256())
        self.key_id = "k" + derive(raw, "key-id", 5).hex()
        self.code_key = CodeKey(self.key_id, derive(raw, "event-code", 32))
        self._framed_id = framed(self.key_id.encode())

    def __repr__(self) -> str:
        return f"<encryption key {self.key_id}>"

    def encrypt(self, secret: Secret) -> str:
        """Return the token of a secret."""
        return TOKEN_PREFIX + self._fernet.encrypt(secret.reveal().encode()).decode()

    def decrypt(self, token: str) -> Secret:
        """Return the secret of a token. Raises UnreadableCredentialError."""
        try:
            return Secret(self._fernet.decrypt(token.removeprefix(TOKEN_PREFIX).encode()).decode())
        except (InvalidToken, UnicodeError):
            raise UnreadableCredentialError(self.key_id, "token-does-not-open") from None

    def node_code(self, message: bytes) -> bytes:
        """Return the code of a node's message to other nodes, 32 bytes."""
        mac = self._node_mac.copy()
        mac.update(message)
        return mac.finalize()

    def bind(self, token: str, context: SealContext) -> str:
        """Return the binding of a token to its place."""
        mac = self._mac.copy()
        mac.update(
            _place(context.tenant_id, context.provider, context.stream_id)
            + framed(str(context.version).encode())
            + _settings(context.endpoint, context.api_version, context.deployment_name)
            + self._framed_id
            + framed(token.encode())
        )
        return BINDING_PREFIX + base64.urlsafe_b64encode(mac.finalize()).decode()


class Keyring:
    """The primary key, which seals and opens, and previous keys, which only open. Implements `Sealer`."""

    def __init__(
        self, primary: Secret, previous: Iterable[Secret] = (), fingerprint: Fingerprint | None = None
    ) -> None:
        """fingerprint: returns that of an API key in one ledger; None for a ring that only opens and checks.

        Raises ValueError for a key that is not a Fernet key.
        """
        self._primary = EncryptionKey(primary)
        self._keys = {key.key_id: key for key in (self._primary, *map(EncryptionKey, previous))}
        self._fingerprint = fingerprint

    def with_fingerprints(self, fingerprint: Fingerprint) -> "Keyring":
        """Return the same ring with the fingerprints of a ledger."""
        ring = copy(self)
        ring._fingerprint = fingerprint  # noqa: SLF001  of the copy
        return ring

    @property
    def primary_id(self) -> str:
        """The key id of new tokens."""
        return self._primary.key_id

    @property
    def key_ids(self) -> frozenset[str]:
        """The key ids this ring can open."""
        return frozenset(self._keys)

    @property
    def code_keys(self) -> tuple[CodeKey, ...]:
        """The keys that authenticate events, the primary's first."""
        return tuple(key.code_key for key in self._keys.values())

    def seal(self, secret: Secret, context: SealContext) -> SealedSecret:
        """Encrypt under the primary key and bind to `context`."""
        token = self._primary.encrypt(secret)
        return SealedSecret(token, self._primary.bind(token, context), self._primary.key_id)

    def open(self, sealed: SealedSecret, context: SealContext) -> Secret:
        """Return the plaintext.

        Raises UnreadableCredentialError if the ring lacks the key or the token does not open, and
        CredentialIntegrityError if the token was not sealed for this place.
        """
        return self._checked(sealed, context).decrypt(sealed.token)

    def check(self, sealed: SealedSecret, context: SealContext) -> None:
        """Raise as `open` does, without decrypting. A correct binding proves that its token was made with it."""
        self._checked(sealed, context)

    def fingerprint(self, secret: Secret) -> str:
        """Return the fingerprint of a secret in the ledger. Raises UnreadableCredentialError for a ring without one."""
        if self._fingerprint is None:
            raise UnreadableCredentialError(self.primary_id, "no-ledger-secret")
        return self._fingerprint(secret)

    def node_code(self, key_id: str, message: bytes) -> bytes:
        """Return the code of a node's message under a key of the ring. Raises KeyError for any other key."""
        return self._keys[key_id].node_code(message)

    def _checked(self, sealed: SealedSecret, context: SealContext) -> EncryptionKey:
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise UnreadableCredentialError(shown_key_id(sealed.key_id), "key-not-in-keyring")
        expected = key.bind(sealed.token, context)
        if not hmac.compare_digest(expected.encode(), sealed.binding.encode()):
            raise CredentialIntegrityError("binding")
        if not sealed.token.startswith(TOKEN_PREFIX):
            raise UnreadableCredentialError(key.key_id, "token-format")
        return key


class NoKeyring:
    """The sealer of a service without an encryption key: it can neither seal nor open."""

    primary_id = "none"

    def seal(self, secret: Secret, context: SealContext) -> SealedSecret:
        """Raise UnreadableCredentialError: there is no key to seal under."""
        raise UnreadableCredentialError(self.primary_id, "no-encryption-key")

    def open(self, sealed: SealedSecret, context: SealContext) -> Secret:
        """Raise UnreadableCredentialError."""
        raise UnreadableCredentialError(shown_key_id(sealed.key_id), "key-not-in-keyring")

    def check(self, sealed: SealedSecret, context: SealContext) -> None:
        """Raise UnreadableCredentialError."""
        self.open(sealed, context)

    def fingerprint(self, secret: Secret) -> str:
        """Raise UnreadableCredentialError: a fingerprint is keyed."""
        raise UnreadableCredentialError(self.primary_id, "no-encryption-key")


@lru_cache(1024)
def _place(tenant_id: str, provider: str, stream: UUID) -> bytes:
    """Return the framed parts common to all versions of a credential: one is opened just before the next is sealed."""
    return framed(tenant_id.encode(), provider.encode(), str(stream).encode())


@lru_cache(1024)
def _settings(endpoint: str | None, api_version: str | None, deployment_name: str | None) -> bytes:
    """Return the framed canonical JSON of the settings, which many credentials share."""
    settings = {"api_version": api_version, "deployment_name": deployment_name, "endpoint": endpoint}
    return framed(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode())


def derive(raw: bytes, purpose: str, length: int) -> bytes:
    """Return a key or an id derived from a raw key for one purpose. length: in bytes."""
    return HKDF(SHA256(), length, salt=None, info=f"keyledger/v1/{purpose}".encode()).derive(raw)
