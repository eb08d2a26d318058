"""Compares the stored hash tree, tile by tile, with the tree computed from the events.

Promises: the first event whose hash differs from the stored one is named by its position. An upper tile is compared
only once the tiles below it are right, so a difference is in that tile alone. Events the tree has not reached yet are
not an inconsistency.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from domain.proofs.merkle_tree import HASH_SIZE
from domain.proofs.tiles import TILE_WIDTH, TileBuilder, TileRow
from keyledger.evidence.errors import EvidenceError
from projections.catch_up import Appended, position_of
from projections.database.connections import Connection
from projections.proofs.transparency_log import TABLE

_EXTRA = """
SELECT level, tile FROM transparency_log
 WHERE level NOT BETWEEN 0 AND 7 OR tile < 0 OR tile * 256 >= (%s::bigint >> (8 * level))
 ORDER BY level, tile LIMIT 1
"""


class StoredTree:
    """Takes every event in log order."""

    def __init__(self, connection: Connection, sizes: Iterable[int] = ()) -> None:
        """sizes: at which `root_at` will be asked for the root."""
        self._connection = connection
        self._sizes = sorted(set(sizes))
        self._builder = TileBuilder()
        self._roots: dict[int, bytes] = {}
        self._index = -1
        self._stored = b""
        self.position = position_of(connection, TABLE)

    def compare_leaf(self, appended: Appended, computed: bytes) -> None:
        """Compare a leaf hash with the stored one, if the tree has reached it."""
        if appended.position > self.position:
            return
        index, place = divmod(appended.position - 1, TILE_WIDTH)
        if index != self._index:
            self._index, self._stored = index, self._tile(0, index)
        if self._stored[place * HASH_SIZE : (place + 1) * HASH_SIZE] != computed:
            raise EvidenceError(
                "the hash of the event differs from the one in the tree: the event was changed after it was recorded,"
                " or the tree was",
                appended.position,
                part="tree",
            )

    def grow(self, hashes: Sequence[bytes]) -> None:
        """Add leaves, and compare the upper tiles that are now full. Keeps the roots at the wanted sizes."""
        before = self._builder.size
        ends = [size - before for size in self._sizes if before < size <= before + len(hashes)]
        rows: list[TileRow] = []
        for start, end in pairwise([0, *ends, len(hashes)]):
            rows += self._builder.complete(hashes[start:end])
            if end in ends:
                self._roots[before + end] = self._builder.root()
        for row in rows:
            self._compare(row)

    def finish(self, events: int) -> None:
        """Compare the partial tiles, and look for tiles that no event accounts for."""
        if self.position > events:
            meaning = f"the tree covers {self.position} events, but the log ends earlier: events were removed"
            raise EvidenceError(meaning, events + 1)
        if self.position == events:
            for row in self._builder.partial():
                self._compare(row)
        extra = self._connection.execute(_EXTRA, [self.position]).fetchone()
        if extra is not None:
            raise EvidenceError(
                f"the tree has a tile of level {extra['level']} beyond its end", events + 1, part="tree"
            )

    def root_at(self, size: int) -> bytes | None:
        """Return the root of the first `size` events, kept while the tree grew."""
        return self._roots.get(size, TileBuilder().root() if size == 0 else None)

    def _compare(self, row: TileRow) -> None:
        span = TILE_WIDTH ** (row.tile.level + 1)
        first = row.tile.index * span + 1
        covered = (self.position >> (8 * row.tile.level)) - row.tile.index * TILE_WIDTH
        if covered < row.tile.width:
            return  # the tree has not reached it
        if self._tile(row.tile.level, row.tile.index) != row.hashes:
            raise EvidenceError(
                f"a tile of level {row.tile.level} does not match the events from this position", first, part="tree"
            )

    def _tile(self, level: int, index: int) -> bytes:
        row = self._connection.execute(
            "SELECT hashes FROM transparency_log WHERE level = %s AND tile = %s", [level, index], binary=True
        ).fetchone()
        return bytes(row["hashes"]) if row else b""
