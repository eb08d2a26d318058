"""The authentication codes of a row of `nodes`: one under each encryption key that the node knows.

    code    HMAC-SHA256 under HKDF-SHA256(raw key, info="keyledger/v1/node") over these parts, each preceded by its
            length, four bytes: ledger id, node id, name, process, primary key id, key ids in order and joined by
            commas, version, time of the beat (RFC 3339, UTC, microseconds)

Promises: a node that shares a key with the reader is recognised, and without one of the row's keys no one can make
a row, change one, or renew one: the time is in the code.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from uuid import UUID

from domain.events.event import time_text
from domain.events.framing import framed
from keyledger.encryption.keyring import Keyring


class Standing(Enum):
    """The result of comparing the codes of a row with the keys of one reader.

    GENUINE: a node that knows a key of the reader wrote it. FORGED: it has a wrong code, or none, under a key that the
    reader knows. FOREIGN: it names only keys that the reader does not know, so the reader cannot say.
    """

    GENUINE = auto()
    FORGED = auto()
    FOREIGN = auto()


@dataclass(frozen=True, slots=True)
class NodeRow:
    """The members of a row that its codes cover. key_ids: in order. seen_at: of the beat that wrote the row."""

    ledger_id: str
    node_id: UUID
    name: str
    process: str
    primary_id: str
    key_ids: tuple[str, ...]
    version: str
    seen_at: datetime

    @property
    def message(self) -> bytes:
        """The framed parts."""
        parts = (
            self.ledger_id,
            str(self.node_id),
            self.name,
            self.process,
            self.primary_id,
            ",".join(self.key_ids),
            self.version,
            time_text(self.seen_at),
        )
        return framed(*map(str.encode, parts))


def codes_of(row: NodeRow, keyring: Keyring) -> list[bytes]:
    """Return the codes of a row, in the order of its key ids, all of which are in the ring."""
    return [keyring.node_code(key_id, row.message) for key_id in row.key_ids]


def standing_of(row: NodeRow, codes: Sequence[bytes], keyring: Keyring) -> Standing:
    """Return what the codes of a row show to the holder of a ring."""
    shared = [place for place, key_id in enumerate(row.key_ids) if key_id in keyring.key_ids]
    if not shared and row.primary_id not in keyring.key_ids:
        return Standing.FOREIGN
    whole = row.primary_id in row.key_ids and len(codes) == len(row.key_ids)
    if shared and whole and all(_is_right(row, codes[place], place, keyring) for place in shared):
        return Standing.GENUINE
    return Standing.FORGED


def _is_right(row: NodeRow, code: bytes, place: int, keyring: Keyring) -> bool:
    return hmac.compare_digest(keyring.node_code(row.key_ids[place], row.message), code)
