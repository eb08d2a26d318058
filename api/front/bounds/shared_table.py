"""Numbers by name, in memory that processes share: a table of fixed size, in which a name has a few places.

Promises: what one process keeps, the others find; it takes no lock, so no process waits for one that was killed.
Limits: of two processes that keep a number at the same moment, one prevails. Where all places of a name are taken, the
smallest number is forgotten. A name is known by a hash of 64 bits, which all processes of one start share.
"""

import mmap
import struct

_ENTRY = struct.Struct("=qd")  # the hash of a name, 0 in a place that was never used, and its number
_PLACES = 16


class SharedTable:
    """A table. Make it before the first process is forked."""

    def __init__(self, entries: int) -> None:
        """entries: how many it has at most; a power of 2. Those that were never used take no memory."""
        self._last = entries - 1
        self._memory = mmap.mmap(-1, entries * _ENTRY.size)

    def get(self, name: object) -> float:
        """Return the number of a name; 0 for one that is not known."""
        known = hash(name) or 1
        for place in range(known, known + _PLACES):
            found, number = _ENTRY.unpack_from(self._memory, (place & self._last) * _ENTRY.size)
            if found == known:
                return float(number)
            if not found:
                break
        return 0.0

    def put(self, name: object, number: float, worthless: float = 0.0) -> None:
        """Keep the number of a name. worthless: numbers up to it may be forgotten."""
        known = hash(name) or 1
        smallest, least = 0, float("inf")
        for place in range(known, known + _PLACES):
            at = (place & self._last) * _ENTRY.size
            found, other = _ENTRY.unpack_from(self._memory, at)
            if found == known or not found:
                smallest = at
                break
            rank = -1.0 if other <= worthless else other
            if rank < least:
                smallest, least = at, rank
        _ENTRY.pack_into(self._memory, smallest, known, number)

    def clear(self) -> None:
        """Forget all. No other process may write meanwhile."""
        self._memory[:] = bytes(len(self._memory))
