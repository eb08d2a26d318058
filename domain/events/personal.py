"""Members of events that are about a person or a tenant, as they are stored: sealed, with a commitment to the value.

    personal:v1:KEYS.COMMITMENT.BOX
    KEYS        one or two references to keys that are kept outside the log, joined by "+"; all of them open the box
    COMMITMENT  base64url of HMAC-SHA256(opening, name of the member, value), each preceded by its length, four bytes
    BOX         base64url of what the keys open: the opening, 16 random bytes, and the value in UTF-8

Promises: everything in this module is a pure function of stored bytes and needs no key. A commitment binds the value
and, without the opening, reveals nothing about it, so proofs show commitments and stay whole when keys are destroyed.
Standards: RFC 2104 (HMAC), RFC 4648 (base64url, without padding).
"""

import base64
import hmac
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

from domain.events.framing import framed

E = TypeVar("E")

SEALED, COMMITTED = "personal:v1:", "commitment:v1:"
"""The beginnings of a sealed text and of the commitment that proofs show in its place."""
OPENING_SIZE = 16
_REFERENCE = r"[\w-]{22}(?:@[0-9]{8})?"
_FORM = re.compile(
    rf"{SEALED}({_REFERENCE}(?:\+{_REFERENCE})?)\.([\w-]{{43}})\.([\w-]{{60,}})",
    re.ASCII,
)


class SealedMember(NamedTuple):
    """The parts of a sealed text. keys: references to all keys that are needed to open the box."""

    keys: tuple[str, ...]
    commitment: str
    box: bytes


class Place(NamedTuple):
    """The place of a member in the log. A text that was moved to another place does not open."""

    stream: UUID
    version: int
    member: str


class Disclosure(NamedTuple):
    """A member's value with the opening of its commitment."""

    value: str
    opening: bytes


class SealedEvents(NamedTuple, Generic[E]):
    """Events as the log stores them. keys: references to all keys that their members are sealed under."""

    events: Sequence[E]
    keys: Sequence[str]


class Sealing(Protocol[E]):
    """Seals the personal members of events that are about to be appended."""

    def sealed(self, events: Sequence[E]) -> SealedEvents[E]:
        """Return the events with their personal members sealed. Raises StoreUnavailableError."""
        ...

    def forget(self) -> None:
        """Forget the keys in memory: one of them was destroyed."""
        ...


class Disclosing(Protocol):
    """Opens sealed members with keys that it reads at each call, so nothing is opened after its key is destroyed."""

    def disclosed(self, sealed: Sequence[tuple[Place, str]]) -> Sequence[Disclosure | None]:
        """Return the value of each text; None where a key is destroyed or lost. Raises StoreUnavailableError.

        Raises CredentialIntegrityError for a text that was changed or moved.
        """
        ...

    def person_named(self, actor: str) -> str | None:
        """Return the token of an actor; None for one who is not known, or was erased. Raises StoreUnavailableError."""
        ...


def spell(keys: Sequence[str], commitment: str, box: bytes) -> str:
    """Return the sealed text with these parts."""
    return f"{SEALED}{'+'.join(keys)}.{commitment}.{to_text(box)}"


def is_sealed(text: str) -> bool:
    """Say whether a member is sealed. Values in clear never look so: the gate seals every one that is personal."""
    return text.startswith(SEALED)


def parse(text: str) -> SealedMember:
    """Return the parts of a sealed text. Raises ValueError for anything else."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("not a sealed member")
    return SealedMember(tuple(found[1].split("+")), found[2], to_bytes(found[3]))


def person_in(text: str) -> str | None:
    """Return the token of the person whom a sealed text is about; None for a text in clear."""
    return text[len(SEALED) : len(SEALED) + 22] if is_sealed(text) else None


def shown_in_proofs(text: str) -> str:
    """Return what a proof shows of a stored member: its commitment if it is sealed, else the text itself."""
    if not is_sealed(text):
        return text
    # A text that no program sealed may have no point; it stops neither the tree nor a verification.
    return COMMITTED + text.partition(".")[2].partition(".")[0]


def commitment_of(member: str, value: str, opening: bytes) -> str:
    """Return the commitment to a member's value, 43 characters of base64url."""
    return to_text(hmac.digest(opening, framed(member.encode(), value.encode()), sha256))


def to_text(data: bytes) -> str:
    """Return bytes in base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def to_bytes(text: str) -> bytes:
    """Return the bytes of a text in base64url without padding. Raises ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
