"""The newest events of streams, as this process last read or wrote them: presumptions that spare an append its reading.

Nothing is believed for being remembered. What is decided on a presumption is stored only by an append that finds the
same events, byte for byte, still the newest of their streams (`keyledger.log.append_call`).
Promises: memory is bounded; what was not used for longest is forgotten first. An append that fails forgets what it
presumed, so the next attempt reads it.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from uuid import UUID

from domain.events.event_code import LogRow

KEPT = 4096
"""Streams; about 4 MB."""


class LastSeen:
    """Remembers rows of the log by their streams, None for a stream without any. Thread-safe."""

    def __init__(self) -> None:
        self._rows: OrderedDict[UUID, LogRow | None] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, streams: Iterable[UUID]) -> dict[UUID, LogRow | None]:
        """Return what is remembered, of those streams of which something is."""
        with self._lock:
            known = [stream for stream in streams if stream in self._rows]
            for stream in known:
                self._rows.move_to_end(stream)
            return {stream: self._rows[stream] for stream in known}

    def note(self, rows: Mapping[UUID, LogRow | None]) -> None:
        """Remember what was read or written just now."""
        with self._lock:
            self._rows.update(rows)
            while len(self._rows) > KEPT:
                self._rows.popitem(last=False)

    def forget(self, streams: Iterable[UUID]) -> None:
        """Forget what was presumed of streams."""
        with self._lock:
            for stream in streams:
                self._rows.pop(stream, None)
