"""Compares the whole log with its hash tree in the background, a page at a time, and begins again at the end.

Promises: an event that was removed, or changed in the log alone, at whatever position, is found within one pass and
named. A finding stays until a whole pass finds nothing. A tree that is emptied and computed again is not reported.
Limits: a pass over a million events takes some 80 minutes. A log that was changed together with its tree is for the
anchors and checkpoints to find, a change that was taken back before the pass came to it for no one.
"""

from psycopg_pool import ConnectionPool

from domain.errors import CredentialIntegrityError
from domain.events.event_code import EventCodes, require_code
from domain.proofs.tiles import TileBuilder
from projections.catch_up import position_of, read_row, read_rows
from projections.database.connections import BoundedConnection, Connection, unavailable
from projections.proofs import transparency_log

PAGE = 200
"""Events at a time: a few milliseconds."""


class WholeLog:
    """One comparison that never ends. error: the finding, with its position; "" if there is none."""

    def __init__(self, pool: ConnectionPool[BoundedConnection]) -> None:
        self._pool = pool
        self._size = 0
        self._done = TileBuilder()
        self.error = ""

    def step(self, codes: EventCodes) -> None:
        """Compare the next page. Raises StoreUnavailableError."""
        try:
            self._confirmed(codes)
        except CredentialIntegrityError as error:
            self.error = error.reason
            self._begin(0)

    def _confirmed(self, codes: EventCodes) -> None:
        try:
            self._page(codes)
        except CredentialIntegrityError:  # a replay may just have put another table in place
            self._page(codes)

    def _page(self, codes: EventCodes) -> None:
        with unavailable(), self._pool.connection() as connection, connection.transaction(snapshot=True):
            size = position_of(connection, transparency_log.TABLE)
            if size < self._size or not self._size:
                self._begin(size)
            hashes = self._compared(connection, codes)
            if self._done.size + len(hashes) == self._size:
                self._end(connection, hashes)
            else:
                self._done.complete(hashes)

    def _compared(self, connection: Connection, codes: EventCodes) -> list[bytes]:
        first = self._done.size + 1
        last = min(self._size, self._done.size + PAGE)
        rows = read_rows(connection, first - 1, last, PAGE)
        stored = transparency_log.leaf_hashes(connection, first, last)
        hashes: list[bytes] = []
        for position, row in zip(range(first, last + 1), [*rows, *[None] * PAGE], strict=False):
            if row is None or row.position != position:
                raise CredentialIntegrityError(f"event-missing at position {position}")
            require_code(row, codes)
            hashes.append(transparency_log.hash_of(read_row(row)))
            if stored.get(position) != hashes[-1]:
                raise CredentialIntegrityError(f"event-not-as-recorded at position {position}")
        return hashes

    def _end(self, connection: Connection, hashes: list[bytes]) -> None:
        size = self._size
        whole = TileBuilder(self._done.size, self._done.edge)
        whole.complete(hashes)
        if whole.root() != transparency_log.root_at(connection, size):
            raise CredentialIntegrityError(f"transparency-log-damaged before position {size + 1}")
        self.error = ""
        self._begin(0)

    def _begin(self, size: int) -> None:
        self._size, self._done = size, TileBuilder()
