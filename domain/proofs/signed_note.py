"""Signed notes: a text with its signatures, readable by people and programs.

    note            text of lines, an empty line, signature lines
    signature line  em dash, space, key name, space, base64 of the key id and the signature
    key id          first four bytes of SHA-256(key name || newline || type || public key)
    verifier key    key name + "+" + key id as eight hexadecimal digits + "+" + base64 of type and public key

Promises: a parsed note renders to the same bytes; a note is opened only if a trusted key signed it and no signature of
a trusted key is wrong. Signatures of unknown keys prove nothing and are ignored, as the standard requires.
Refuses: any other text, and notes of more than 1 MiB or 100 signatures, with `ProofError`.
Signing and verifying are left to `NoteSigner` and `NoteVerifier`. Standard: C2SP signed-note.
"""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from domain.proofs.errors import ProofError

ED25519 = 0x01
"""Signature type: Ed25519 over the text of the note."""
COSIGNATURE_V1 = 0x04
"""Signature type: Ed25519 of a witness over a time and the text (C2SP tlog-cosignature)."""

MAX_NOTE_SIZE = 1 << 20
MAX_SIGNATURES = 100
KEY_ID_SIZE = 4
_DASH = "\N{EM DASH} "


class NoteVerifier(Protocol):
    """A public key that verifies signatures."""

    @property
    def name(self) -> str:
        """The key name."""

    @property
    def key_id(self) -> bytes:
        """The key id, four bytes."""

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Return whether the signature is this key's over the text."""


class NoteSigner(Protocol):
    """A private key that signs notes."""

    @property
    def name(self) -> str:
        """The key name."""

    @property
    def key_id(self) -> bytes:
        """The key id, four bytes."""

    def sign(self, text: bytes) -> bytes:
        """Return the signature over the text."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line. key_id: four bytes. signature: the bytes after it, in the format of its type."""

    name: str
    key_id: bytes
    signature: bytes

    def __post_init__(self) -> None:
        require_key_name(self.name)
        if len(self.key_id) != KEY_ID_SIZE or not self.signature:
            raise ProofError("a signature must consist of a key id of four bytes and the signature itself")

    @property
    def line(self) -> str:
        """The line as written in a note, without its newline."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}"


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A text, which ends in a newline, and its signatures: none yet, or some."""

    text: str
    signatures: tuple[Signature, ...] = ()

    def __post_init__(self) -> None:
        if not self.text.endswith("\n") or any(character < " " and character != "\n" for character in self.text):
            raise ProofError("the text of a note must end in a newline and have no other control characters")
        _require_utf8(self.text)

    def render(self) -> bytes:
        """Return the note as it is stored and sent. Raises ProofError when it is not signed, or too long."""
        if not 1 <= len(self.signatures) <= MAX_SIGNATURES:
            raise ProofError(f"a signed note must have 1 to {MAX_SIGNATURES} signatures")
        lines = "".join(f"{signature.line}\n" for signature in self.signatures)
        rendered = f"{self.text}\n{lines}".encode()
        if len(rendered) > MAX_NOTE_SIZE:
            raise ProofError(f"a signed note must have at most {MAX_NOTE_SIZE} bytes")
        return rendered

    def signed_by(self, signer: NoteSigner) -> "SignedNote":
        """Return the note with the signature of `signer` as its last one, in place of an older one of the same key."""
        others = (one for one in self.signatures if (one.name, one.key_id) != (signer.name, signer.key_id))
        own = Signature(signer.name, signer.key_id, signer.sign(self.text.encode()))
        return SignedNote(self.text, (*others, own))


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name and signature type. Two keys are the same if name, type and key are equal."""

    name: str
    kind: int
    public: bytes

    def __post_init__(self) -> None:
        require_key_name(self.name)
        if not 0 <= self.kind <= 0xFF or not self.public:
            raise ProofError("a verifier key must have a type of one byte and a public key")

    @property
    def key_id(self) -> bytes:
        """The key id, four bytes."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:KEY_ID_SIZE]

    def render(self) -> str:
        """Return the key as the text that verifiers are configured with."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"


def parse_verifier_key(text: str) -> VerifierKey:
    """Return the key in a text of the form `name+hash+base64`.

    Raises ProofError, also when the hash belongs to another key.
    """
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    decoded = decode_base64(encoded)
    if len(decoded) < 2:
        raise ProofError("a verifier key must have the form name+hash+base64")
    key = VerifierKey(name, decoded[0], decoded[1:])
    if key_id.lower() != key.key_id.hex():
        raise ProofError("the hash in the verifier key does not match its name and key")
    return key


def parse_note(data: bytes) -> SignedNote:
    """Return the note in `data`, with nothing verified. Raises ProofError."""
    if len(data) > MAX_NOTE_SIZE:
        raise ProofError(f"a signed note must have at most {MAX_NOTE_SIZE} bytes")
    try:
        content = data.decode()
    except UnicodeDecodeError:
        raise ProofError("a signed note must be UTF-8") from None
    text, separator, lines = content.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise ProofError("a signed note must be a text, an empty line and signature lines, each ending in a newline")
    found = lines[:-1].split("\n")
    if len(found) > MAX_SIGNATURES:
        raise ProofError(f"a signed note must have 1 to {MAX_SIGNATURES} signatures")
    return SignedNote(f"{text}\n", tuple(map(_parse_line, found)))


def open_note(data: bytes, trusted: Iterable[NoteVerifier]) -> tuple[SignedNote, tuple[Signature, ...]]:
    """Return the note in `data` and its signatures by trusted keys.

    Raises ProofError when no trusted key signed it, or a signature of one is wrong.
    """
    note = parse_note(data)
    verifiers = {(verifier.name, verifier.key_id): verifier for verifier in trusted}
    verified = list[Signature]()
    for signature in note.signatures:
        verifier = verifiers.get((signature.name, signature.key_id))
        if verifier is None:
            continue
        if not verifier.verify(note.text.encode(), signature.signature):
            raise ProofError(f"the signature of {signature.name} is wrong")
        verified.append(signature)
    if not verified:
        raise ProofError("no trusted key has signed it")
    return note, tuple(verified)


def require_key_name(name: str) -> None:
    """Raise ProofError unless `name` may name a key: not empty, no space, plus sign or control character."""
    if not name or "+" in name or any(character.isspace() or character < " " for character in name):
        raise ProofError("a key name must not be empty or have spaces, plus signs or control characters")
    _require_utf8(name)


def decode_base64(text: str) -> bytes:
    """Decode standard base64, of which only the canonical spelling is accepted. Raises ProofError."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProofError("not base64") from None
    if base64.b64encode(decoded).decode() != text:
        raise ProofError("not canonical base64")
    return decoded


def _require_utf8(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ProofError("a signed note must be UTF-8") from None


def _parse_line(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH):
        raise ProofError("a signature line must begin with an em dash and a space")
    decoded = decode_base64(encoded)
    return Signature(name, decoded[:KEY_ID_SIZE], decoded[KEY_ID_SIZE:])
