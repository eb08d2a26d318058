"""Memory that the processes of a node share: one slot for each worker, in which it alone writes.

Promises: what a worker wrote last is read whole, also after it was killed while it wrote; nothing is a file, and the
memory goes with the last process. A worker that takes the slot of one before it finds the last report of that one.
"""

import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from api.front.bounds.node_counts import NodeCounts

REPORT_BYTES = 512 * 1024
"""The longest report that is kept; a longer one leaves the one before it in place."""

_HEAD = 64
_STATE, _PULSE, _WHICH, _LENGTHS = 0, 8, 16, 32  # offsets in the head
_LENGTH = struct.Struct("=II")  # of a report, and its checksum
_TIME = struct.Struct("=d")
_SLOT = _HEAD + 2 * REPORT_BYTES
_LIVE, _ENDED = 1, 2


@dataclass(frozen=True, slots=True)
class Report:
    """The last report of a worker. live: it has not ended since."""

    text: bytes
    live: bool


class WorkerSlots:
    """The slots of one node. Make them before the first worker is forked."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.counts = NodeCounts(count)
        self._memory = mmap.mmap(-1, count * _SLOT)  # pages that are not written take no memory

    def write(self, slot: int, text: bytes) -> None:
        """Replace the report of a slot, whose worker is live from now on. For that worker only."""
        if len(text) <= REPORT_BYTES:
            memory, start = self._memory, slot * _SLOT
            other = 1 - memory[start + _WHICH]
            begin = start + _HEAD + other * REPORT_BYTES
            memory[begin : begin + len(text)] = text
            _LENGTH.pack_into(memory, start + _LENGTHS + other * _LENGTH.size, len(text), zlib.crc32(text))
            memory[start + _WHICH] = other
        self._memory[slot * _SLOT + _STATE] = _LIVE

    def read(self, slot: int) -> Report | None:
        """Return the report of a slot; None if no worker wrote one, or each reading met a writing."""
        memory, start = self._memory, slot * _SLOT
        for _ in range(3):
            if not memory[start + _STATE]:
                return None
            which = memory[start + _WHICH]
            length, checksum = _LENGTH.unpack_from(memory, start + _LENGTHS + which * _LENGTH.size)
            begin = start + _HEAD + which * REPORT_BYTES
            text = bytes(memory[begin : begin + min(length, REPORT_BYTES)])
            if zlib.crc32(text) == checksum:
                return Report(text, memory[start + _STATE] == _LIVE)
        return None

    def others(self, slot: int) -> Iterator[Report]:
        """Yield the reports of all slots but one."""
        for other in range(self._count):
            if other != slot and (report := self.read(other)) is not None:
                yield report

    def beat(self, slot: int, now: float) -> None:
        """Note that a worker's event loop runs. now: by the monotonic clock, which all processes share."""
        _TIME.pack_into(self._memory, slot * _SLOT + _PULSE, now)

    def last_beat(self, slot: int) -> float:
        """Return when the event loop of a slot's worker ran last, 0 if it has not begun."""
        beat: float = _TIME.unpack_from(self._memory, slot * _SLOT + _PULSE)[0]
        return beat

    def ended(self, slot: int) -> None:
        """Note that the worker of a slot has ended. Its report stays. For the parent process only."""
        if self._memory[slot * _SLOT + _STATE]:
            self._memory[slot * _SLOT + _STATE] = _ENDED
        self.beat(slot, 0.0)
        self.counts.ended(slot)
