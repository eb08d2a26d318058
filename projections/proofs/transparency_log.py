"""The hash tree over the log, stored as tiles. It proves what the log holds and that the log has only grown.

Promises: the leaf at position n is the hash of the event at position n (`domain.audit.leaf`). A full tile never
changes. Catching up and replaying lead to the same tiles. Nothing is decrypted.
Refuses: a log whose positions have a gap, and tiles that do not belong at their position.
Standards: RFC 6962, C2SP tlog-tiles.
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence

from psycopg import sql
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from domain.audit.leaf import leaf_of
from domain.errors import CredentialIntegrityError
from domain.proofs.errors import ProofError
from domain.proofs.merkle_tree import EMPTY_ROOT, HASH_SIZE, leaf_hash
from domain.proofs.tiles import (
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    TileBuilder,
    TileHashes,
    TileRow,
    levels,
    partial_width,
    tile_root,
)
from projections.catch_up import Appended, CatchUp
from projections.database.connections import BoundedConnection, Connection
from projections.proofs.quick_leaves import leaf_from

TABLE = "transparency_log"
COLUMNS = ("level", "tile", "hashes")

_TILES = """
SELECT t.level, t.tile, t.hashes
  FROM {table} AS t JOIN unnest(%s::smallint[], %s::bigint[]) AS w (level, tile) USING (level, tile)
"""
_LEAVES = "SELECT tile, hashes FROM {table} WHERE level = 0 ORDER BY tile"
_STORE = """
INSERT INTO {table} (level, tile, hashes) SELECT * FROM unnest(%s::smallint[], %s::bigint[], %s::bytea[])
    ON CONFLICT (level, tile) DO UPDATE SET hashes = excluded.hashes
"""


def follower(pool: ConnectionPool[BoundedConnection]) -> CatchUp:
    """Return the follower that keeps the tree at the head of the log."""
    return CatchUp(pool, TABLE, write)


def hash_of(appended: Appended) -> bytes:
    """Return the leaf hash of an event."""
    return leaf_hash(leaf_by(appended))


def leaf_by(appended: Appended) -> bytes:
    """Return the leaf of an event."""
    leaf = leaf_from(appended.quick, appended.row) if appended.quick is not None else None
    return leaf_of(appended.event, appended.row) if leaf is None else leaf


def write(connection: Connection, batch: Sequence[Appended], table: str = TABLE) -> None:
    """Add the leaves of a batch, inside the caller's transaction. Raises CredentialIntegrityError."""
    size = batch[0].position - 1
    builder = builder_at(connection, size, table)
    store(connection, builder.append(_hashes(batch, size)), table)


def write_leaves(
    connection: Connection, batch: Sequence[Appended], table: str, last: MutableMapping[int, str] | None = None
) -> None:
    """Write the tiles of level 0 of a batch that begins one. Several processes may do that, each for its positions.

    Raises CredentialIntegrityError.
    """
    del last  # a leaf depends on its event alone
    size = batch[0].position - 1
    if missing := size % TILE_WIDTH:
        raise CredentialIntegrityError(f"event-missing at position {size + 1 - missing}")
    hashes = list(_hashes(batch, size))
    tiles = (hashes[start : start + TILE_WIDTH] for start in range(0, len(hashes), TILE_WIDTH))
    rows = (
        TileRow(Tile(0, nth, len(tile)), b"".join(tile)) for nth, tile in enumerate(tiles, start=size // TILE_WIDTH)
    )
    _copy(connection, rows, table)


def write_upper(connection: Connection, table: str) -> None:
    """Write the tiles above those of `write_leaves`, inside the caller's transaction.

    Raises CredentialIntegrityError.
    """
    builder = TileBuilder()
    with connection.cursor("leaves", row_factory=tuple_row) as stored:
        stored.execute(sql.SQL(_LEAVES).format(table=sql.Identifier(table)), binary=True)
        rows = builder.complete(_roots(stored))
    _copy(connection, (_above(row) for row in (*rows, *builder.partial())), table)


def _roots(tiles: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    """Yield the roots of full tiles. Raises CredentialIntegrityError if one is missing."""
    for nth, (tile, hashes) in enumerate(tiles):
        if tile != nth:
            raise CredentialIntegrityError(f"event-missing at position {nth * TILE_WIDTH + 1}")
        if len(hashes) == TILE_WIDTH * HASH_SIZE:
            yield tile_root(bytes(hashes))


def _above(row: TileRow) -> TileRow:
    """Return a tile over the roots of tiles as the tile over those tiles."""
    return TileRow(Tile(row.tile.level + 1, row.tile.index, row.tile.width), row.hashes)


def _hashes(batch: Sequence[Appended], size: int) -> Iterator[bytes]:
    """Yield the leaf hashes of a batch that continues a tree of `size` leaves. Raises CredentialIntegrityError."""
    for place, appended in enumerate(batch, start=size + 1):
        if appended.position != place:
            raise CredentialIntegrityError(f"event-missing at position {place}")
        yield hash_of(appended)


def _copy(connection: Connection, rows: Iterable[TileRow], table: str) -> None:
    statement = sql.SQL("COPY {} (level, tile, hashes) FROM STDIN (FORMAT binary)").format(sql.Identifier(table))
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(("int2", "int8", "bytea"))
        for row in rows:
            copy.write_row((row.tile.level, row.tile.index, row.hashes))


def builder_at(connection: Connection, size: int, table: str = TABLE) -> TileBuilder:
    """Return a builder that appends to the tree of `size` leaves. Raises CredentialIntegrityError."""
    edge = [
        Tile(level, size >> TILE_HEIGHT * (level + 1), width)
        for level in levels(size)
        if (width := partial_width(level, size))
    ]
    found = read_tiles(connection, edge, table)
    try:
        return TileBuilder(size, {tile.level: found.get(tile, b"") for tile in edge})
    except ProofError:
        raise CredentialIntegrityError(f"transparency-log-damaged before position {size + 1}") from None


def root_at(connection: Connection, size: int) -> bytes:
    """Return the root over the first `size` leaves, from stored tiles. Raises CredentialIntegrityError."""
    return EMPTY_ROOT if size == 0 else builder_at(connection, size).root()


def hashes_at(connection: Connection, size: int, table: str = TABLE) -> TileHashes:
    """Return the hashes from which proofs about the tree of `size` leaves are computed.

    Reading them raises ProofError for missing tiles.
    """

    def fetch(tiles: Sequence[Tile]) -> list[bytes]:
        found = read_tiles(connection, tiles, table)
        return [found.get(tile, b"") for tile in tiles]

    return TileHashes(size, fetch)


def read_tiles(connection: Connection, tiles: Sequence[Tile], table: str = TABLE) -> Mapping[Tile, bytes]:
    """Return the hashes of the tiles that exist. A tile that has grown since is cut to the width asked for."""
    if not tiles:
        return {}
    rows = connection.execute(
        sql.SQL(_TILES).format(table=sql.Identifier(table)),
        [[tile.level for tile in tiles], [tile.index for tile in tiles]],
        binary=True,
    ).fetchall()
    stored = {(row["level"], row["tile"]): bytes(row["hashes"]) for row in rows}
    return {
        tile: stored[tile.level, tile.index][: tile.width * 32] for tile in tiles if (tile.level, tile.index) in stored
    }


def leaf_hashes(connection: Connection, first: int, last: int) -> dict[int, bytes]:
    """Return the stored leaf hashes by position, from `first` to `last`, without those that the tree lacks."""
    tiles = [Tile(0, index) for index in range((first - 1) // TILE_WIDTH, (last - 1) // TILE_WIDTH + 1)]
    return {
        tile.index * TILE_WIDTH + place + 1: hashes[place * HASH_SIZE : (place + 1) * HASH_SIZE]
        for tile, hashes in read_tiles(connection, tiles).items()
        for place in range(len(hashes) // HASH_SIZE)
    }


def store(connection: Connection, rows: Iterable[TileRow], table: str = TABLE) -> None:
    """Write tiles, inside the caller's transaction."""
    listed = list(rows)
    connection.execute(
        sql.SQL(_STORE).format(table=sql.Identifier(table)),
        [
            [row.tile.level for row in listed],
            [row.tile.index for row in listed],
            [row.hashes for row in listed],
        ],
    )
