"""The authentication code of an event: it shows that a holder of the ledger's keys wrote the event, in this place.

    code  HMAC-SHA256(key, ledger id, stream, version, topic, state)
          ids as 16 bytes, the version as 8; topic and state are each preceded by their length, four bytes
    key   derived from an encryption key, or from the signing key of the audit log where there is none

Promises: a code holds for one ledger, one stream and one version, so an event that is changed, moved or copied into
another ledger is recognised, and so is one that was added by a role that may write to the database but has no key.
An event at or before the last attested position needs no code: a holder of the keys attested the log up to there, and
the hash tree holds it (`domain.operations.attestation`).
After an accepted restore, an event with a right code that is older than the acceptance was not appended since: it is of
the part of the log that was given up, and counts as forged. The time of the log never goes back, so no other event is.
Refuses: to call a code wrong whose key is not at hand: that has a state of its own, as a reader without any key has.
Standards: RFC 2104 (HMAC).
"""

import hmac
import re
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple
from uuid import UUID

from domain.errors import CredentialIntegrityError
from domain.events.framing import framed

NO_LEDGER = UUID(int=0)
SIGNING = "s"
"""The first letter of the id of a code key that comes from a signing key; a node with such a key alone may meet codes
of nodes that have encryption keys, and cannot check them."""


_TIME = re.compile(rb'"timestamp":"([0-9T:.+-]{32})"')  # a quote within a text is escaped
_KEY_ID = re.compile(r"k[0-9a-f]{10}|s[0-9a-f]{8}")


class EventCode(NamedTuple):
    """A stored code. key_id: of the key it was made with. mac: 32 bytes."""

    key_id: str
    mac: bytes


class LogRow(NamedTuple):
    """An event as a row of the log holds it. code_key_id, code: None if it was written without a key."""

    position: int
    stream: UUID
    version: int
    topic: str
    state: bytes
    code_key_id: str | None
    code: bytes | None


class CodeKey:
    """A key that authenticates events. Its repr shows only its id."""

    __slots__ = ("_key", "key_id")

    def __init__(self, key_id: str, key: bytes) -> None:
        """key: 32 bytes."""
        self.key_id = key_id
        self._key = key

    def __repr__(self) -> str:
        return f"<event code key {self.key_id}>"

    def mac(self, message: bytes) -> bytes:
        """Return the code of a message, 32 bytes."""
        return hmac.digest(self._key, message, "sha256")


class CodeState(Enum):
    """The result of checking a code.

    ATTESTED: a holder of the keys vouched for the event. UNCHECKED: no key here, or no encryption key, could check it.
    LOST_KEY: it was made with a key that an operator declared lost. UNKNOWN_KEY: with one that is not at hand, and was
    neither retired nor declared lost; such a code can be written without any key. ABANDONED: it is right, and the event
    is of a part of the log that an accepted restore gave up.
    """

    RIGHT = "right"
    ATTESTED = "attested"
    UNCHECKED = "unchecked"
    LOST_KEY = "under-a-lost-key"
    UNKNOWN_KEY = "under-a-key-that-is-not-configured"
    WRONG = "wrong"
    MISSING = "missing"
    ABANDONED = "of-an-abandoned-part"

    @property
    def is_forgery(self) -> bool:
        """Whether no holder of the ledger's keys wrote the event there."""
        # Not a set: every resolution asks, and hashing a member takes longer than comparing it with all.
        return self is CodeState.WRONG or self is CodeState.MISSING or self is CodeState.ABANDONED

    @property
    def proves(self) -> bool:
        """Whether the event may decide whose key is used: nothing speaks against it that a reader here could know."""
        return self is CodeState.RIGHT or self is CodeState.ATTESTED or self is CodeState.UNCHECKED


PROVEN = frozenset({CodeState.RIGHT, CodeState.ATTESTED})
"""States of an event that a holder of the ledger's keys wrote."""


class EventCodes:
    """Makes and checks the codes of one ledger."""

    def __init__(
        self,
        ledger_id: UUID,
        keys: Iterable[CodeKey] = (),
        attested: int = 0,
        accepted: Iterable[int] = (),
        lost: Iterable[str] = (),
        restores: Iterable[tuple[int, bytes]] = (),
    ) -> None:
        """keys: the first one authenticates new events, all of them check.

        attested: the last attested position. accepted: positions of forged events that an operator accepted.
        lost: ids of keys that were lost before the attestation, so that it says nothing about their codes.
        restores: position and time of each acceptance of a restore, in order.
        The attribute `seals`: whether an encryption key is among the keys.
        """
        listed = tuple(keys)
        self.ledger_id = ledger_id
        self.attested = attested
        self.accepted = frozenset(accepted)
        self.lost = frozenset(lost)
        self._restores = tuple(restores)
        self._primary = listed[0] if listed else None
        self._keys = {key.key_id: key for key in listed}
        self.seals = any(key_id[:1] != SIGNING for key_id in self._keys)
        self._ledger = ledger_id.bytes

    @property
    def key_ids(self) -> frozenset[str]:
        """The ids of the keys at hand."""
        return frozenset(self._keys)

    @property
    def primary_id(self) -> str | None:
        """The id of the key that authenticates new events; None where there is no key."""
        return self._primary.key_id if self._primary else None

    def with_keys(self, keys: Iterable[CodeKey]) -> "EventCodes":
        """Return the codes of the same ledger with other keys."""
        return EventCodes(self.ledger_id, keys, self.attested, self.accepted, self.lost, self._restores)

    def with_attested(self, attested: int, accepted: Iterable[int] = (), lost: Iterable[str] = ()) -> "EventCodes":
        """Return the same codes for a log that is attested up to a position."""
        return EventCodes(self.ledger_id, self._keys.values(), attested, accepted, lost, self._restores)

    def with_restores_of(self, other: "EventCodes") -> "EventCodes":
        """Return the same codes with the accepted restores that other codes know."""
        return EventCodes(
            self.ledger_id,
            self._keys.values(),
            self.attested,
            self.accepted,
            self.lost,
            other._restores,  # noqa: SLF001  of the same class
        )

    def with_restore(self, row: LogRow) -> "EventCodes":
        """Return the same codes for a log in which an operator accepted a restore, if a holder of the keys wrote that.

        row: of the acceptance.
        """
        if not self.check(row).proves:
            return self
        restores = sorted({*self._restores, (row.position, _time_of(row.state))})
        return EventCodes(self.ledger_id, self._keys.values(), self.attested, self.accepted, self.lost, restores)

    def code(self, stream: UUID, version: int, topic: str, state: bytes) -> EventCode | None:
        """Return the code of a new event; None where there is no key."""
        if self._primary is None:
            return None
        return EventCode(self._primary.key_id, self._primary.mac(self._message(stream, version, topic, state)))

    def check(self, row: LogRow) -> CodeState:
        """Return what the code of a stored event says, compared in constant time."""
        position, stream, version, topic, state, key_id, code = row
        if not self._keys:
            return CodeState.UNCHECKED
        key = self._keys.get(key_id) if key_id is not None else None
        if key is not None:
            expected = key.mac(self._message(stream, version, topic, state))
            right = hmac.compare_digest(expected, code or b"")
            if not right:
                return self._forged(position, CodeState.WRONG)
            return self._forged(position, CodeState.ABANDONED) if self._is_abandoned(row) else CodeState.RIGHT
        if 0 < position <= self.attested:
            return CodeState.LOST_KEY if key_id in self.lost else CodeState.ATTESTED
        if key_id is None:
            return self._forged(position, CodeState.MISSING)
        return CodeState.UNKNOWN_KEY if self.seals or key_id[:1] == SIGNING else CodeState.UNCHECKED

    def _forged(self, position: int, how: CodeState) -> CodeState:
        return CodeState.ATTESTED if position in self.accepted else how

    def _is_abandoned(self, row: LogRow) -> bool:
        if not self._restores:
            return False
        since = next((time for position, time in reversed(self._restores) if position < row.position), b"")
        return _time_of(row.state) < since

    def _message(self, stream: UUID, version: int, topic: str, state: bytes) -> bytes:
        place = self._ledger + stream.bytes + version.to_bytes(8, "big", signed=True)
        return place + framed(topic.encode(), state)


def _time_of(state: bytes) -> bytes:
    """Return the time of an event as it is stored, which has one spelling, so its order is that of the times."""
    found = _TIME.search(state)
    return found[1] if found is not None else b""


NO_CODES = EventCodes(NO_LEDGER)
"""For readers that have no key: nothing is authenticated, nothing is checked."""


def require_no_forgery(row: LogRow, codes: EventCodes) -> CodeState:
    """Return what the code of an event says. Raises CredentialIntegrityError if the event is forged."""
    said = codes.check(row)
    if said.is_forgery:
        raise _refused(row, said)
    return said


def require_code(row: LogRow, codes: EventCodes) -> CodeState:
    """Return what the code of an event says.

    Raises CredentialIntegrityError if the event is forged, or its key is neither configured nor declared lost.
    """
    said = require_no_forgery(row, codes)
    if said is CodeState.UNKNOWN_KEY:
        raise _refused(row, said)
    return said


def _refused(row: LogRow, said: CodeState) -> CredentialIntegrityError:
    return CredentialIntegrityError(f"event-code-{said.value} at position {row.position}")


def shown_key_id(key_id: str | None) -> str:
    """Return a stored key id if it is well formed: a row that was tampered with may hold anything."""
    return key_id if key_id is not None and _KEY_ID.fullmatch(key_id) else "malformed"
