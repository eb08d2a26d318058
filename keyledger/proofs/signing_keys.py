"""The keys of the audit log: an Ed25519 key signs checkpoints, and witnesses cosign the checkpoints they saw.

    signing key     "PRIVATE+KEY+" + name + "+" + key id + "+" + base64 of 0x01 and the seed of 32 bytes
    verifier key    name + "+" + key id + "+" + base64 of the type and the public key of 32 bytes
    type 0x01       signature of the text of a note
    type 0x04       eight bytes of POSIX seconds, signature of "cosignature/v1\\ntime <seconds>\\n" and the text

The signing key has the format of Go's note package, for logs and witnesses alike. They differ in the type that goes
into the key id, so a signature of one kind is never taken for one of the other.
Promises: a signing key is a `Secret` from its creation on; no repr and no error shows it.
Refuses, with `ProofError`: an invalid key name, a text that is not a signing key, unknown types.
Standards: RFC 8032 (Ed25519), C2SP signed-note, C2SP tlog-cosignature.
"""

import base64
import secrets

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.credentials.key_shapes import holds_key
from domain.credentials.secret import Secret
from domain.events.event import Clock, utc_now
from domain.events.event_code import SIGNING, CodeKey
from domain.proofs.checkpoint import origin_of
from domain.proofs.errors import ProofError
from domain.proofs.signed_note import (
    COSIGNATURE_V1,
    ED25519,
    Signature,
    VerifierKey,
    decode_base64,
    parse_verifier_key,
    require_key_name,
)

_PREFIX = "PRIVATE+KEY+"
_SEED_SIZE = _PUBLIC_SIZE = 32
_TIME_SIZE, _SIGNATURE_SIZE = 8, 64
_LAST_SECOND = (1 << 63) - 1


def generate_signing_key(name: str | None = None) -> Secret:
    """Return a new random signing key. name: by default `keyledger-` and eight random hexadecimal digits.

    Raises ProofError for a name that is empty, not printable, an API key, or has spaces or plus signs.
    """
    name = f"keyledger-{secrets.token_hex(4)}" if name is None else name
    _require_own_name(name)
    seed = secrets.token_bytes(_SEED_SIZE)
    key_id = VerifierKey(name, ED25519, _public_of(Ed25519PrivateKey.from_private_bytes(seed))).key_id
    return Secret(f"{_PREFIX}{name}+{key_id.hex()}+{base64.b64encode(bytes([ED25519]) + seed).decode()}")


class _Signer:
    """A private key with its verifier key, whose type says what it signs."""

    __slots__ = ("_private", "key")
    _kind: int
    _called: str

    def __init__(self, signing_key: Secret) -> None:
        """Raises ProofError, without the text, for anything but a signing key."""
        self._private, name = _parse_signing_key(signing_key)
        self.key = VerifierKey(name, self._kind, _public_of(self._private))

    @property
    def name(self) -> str:
        """The key name. That of the key that signs for a ledger is also the origin of its checkpoints."""
        return self.key.name

    @property
    def key_id(self) -> bytes:
        """The key id, four bytes. A witness and a log with the same key have different key ids."""
        return self.key.key_id

    @property
    def vkey(self) -> str:
        """The verifier key, for everyone who verifies the signatures."""
        return self.key.render()

    def __repr__(self) -> str:
        return f"<{self._called} key {self.name}+{self.key_id.hex()}>"


class LogSigner(_Signer):
    """A log's key for signing checkpoints. Implements `domain.proofs.signed_note.NoteSigner`.

    The signing key itself names no ledger; `of_ledger` returns the one that signs for a ledger.
    """

    __slots__ = ()
    _kind, _called = ED25519, "signing"

    def of_ledger(self, ledger_id: str) -> "LogSigner":
        """Return the same private key under the name of a ledger's checkpoints, with a verifier key of its own."""
        made = object.__new__(LogSigner)
        made._private = self._private
        made.key = VerifierKey(origin_of(self.name, ledger_id), self._kind, self.key.public)
        return made

    def sign(self, text: bytes) -> bytes:
        """Return the signature over the text of a note."""
        return self._private.sign(text)

    @property
    def code_key(self) -> CodeKey:
        """The key that authenticates events where there is no encryption key."""
        derived = HKDF(SHA256(), 32, salt=None, info=b"keyledger/v1/event-code").derive(
            self._private.private_bytes_raw()
        )
        return CodeKey(SIGNING + self.key_id.hex(), derived)


class WitnessSigner(_Signer):
    """A witness's key for cosigning checkpoints. Implements `domain.proofs.signed_note.NoteSigner`."""

    __slots__ = ("_now",)
    _kind, _called = COSIGNATURE_V1, "witness"

    def __init__(self, signing_key: Secret, now: Clock = utc_now) -> None:
        """now: the clock for the time in a cosignature.

        Raises ProofError, without the text, for anything but a signing key.
        """
        super().__init__(signing_key)
        self._now = now

    def sign(self, text: bytes) -> bytes:
        """Return the time and the signature over it and the text of a checkpoint."""
        seconds = int(self._now().timestamp())
        return seconds.to_bytes(_TIME_SIZE, "big") + self._private.sign(_cosigned(seconds, text))


class Ed25519Verifier:
    """A public key of a log or of a witness. Implements `domain.proofs.signed_note.NoteVerifier`."""

    __slots__ = ("_public", "key")

    def __init__(self, key: VerifierKey) -> None:
        """Raises ProofError for a type other than 0x01 and 0x04, or a key that is not an Ed25519 key."""
        if key.kind not in {ED25519, COSIGNATURE_V1} or len(key.public) != _PUBLIC_SIZE:
            raise ProofError("the verifier key is not an Ed25519 key (type 0x01 or 0x04)")
        self._public = Ed25519PublicKey.from_public_bytes(key.public)
        self.key = key

    @property
    def name(self) -> str:
        """The key name."""
        return self.key.name

    @property
    def key_id(self) -> bytes:
        """The key id, four bytes."""
        return self.key.key_id

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Return whether the signature is this key's over the text of a note."""
        if self.key.kind == COSIGNATURE_V1:
            if len(signature) != _TIME_SIZE + _SIGNATURE_SIZE:
                return False
            seconds, signature = int.from_bytes(signature[:_TIME_SIZE], "big"), signature[_TIME_SIZE:]
            if seconds > _LAST_SECOND:
                return False
            text = _cosigned(seconds, text)
        try:
            self._public.verify(signature, text)
        except InvalidSignature:
            return False
        return True


def verifier_of(vkey: str) -> Ed25519Verifier:
    """Return the verifier of a log's or a witness's verifier key. Raises ProofError."""
    return Ed25519Verifier(parse_verifier_key(vkey))


def cosigned_at(signature: Signature) -> int:
    """Return when a cosignature was made, in POSIX seconds. Raises ProofError for any other signature."""
    if len(signature.signature) != _TIME_SIZE + _SIGNATURE_SIZE:
        raise ProofError("not a cosignature")
    return int.from_bytes(signature.signature[:_TIME_SIZE], "big")


def _cosigned(seconds: int, text: bytes) -> bytes:
    return b"cosignature/v1\ntime %d\n" % seconds + text


def _public_of(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()


def _parse_signing_key(signing_key: Secret) -> tuple[Ed25519PrivateKey, str]:
    """Return the private key and its name. The hash in the text must be that of the log's public key."""
    text = signing_key.reveal()
    name, _, rest = text.removeprefix(_PREFIX).partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        decoded = decode_base64(encoded)
    except ProofError:
        decoded = b""
    if not text.startswith(_PREFIX) or len(decoded) != 1 + _SEED_SIZE or decoded[0] != ED25519:
        raise ProofError(
            "not a signing key: PRIVATE, KEY, name, hash, and base64 of type 0x01 and a 32-byte seed, joined by +"
        )
    private = Ed25519PrivateKey.from_private_bytes(decoded[1:])
    if key_id.lower() != VerifierKey(name, ED25519, _public_of(private)).key_id.hex():
        raise ProofError("the hash in the signing key does not match its name and key")
    _require_own_name(name)
    return private, name


def _require_own_name(name: str) -> None:
    """Raise ProofError for a name that must not be shown in every checkpoint."""
    require_key_name(name)
    if not name.isprintable():
        raise ProofError("a key name must have only printable characters")
    if holds_key(name):
        raise ProofError("a key name must not contain an API key: every checkpoint shows the name")
