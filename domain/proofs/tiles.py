"""The Merkle tree as tiles: files, or rows, of up to 256 hashes that never change once they are full.

Level 0 holds leaf hashes; a hash of level n + 1 is the root of a full tile of level n. A tile that is not full yet is
partial, and its width is part of its name:

    tile/<level>/<index>[.p/<width>]      hashes
    tile/entries/<index>[.p/<width>]      entry bundle: leaves, each preceded by its length, two bytes, big-endian
    index                                 in groups of three digits, all but the last preceded by an x: x001/x234/067

Promises: a builder can continue from the partial tiles of any earlier state, and makes the same tiles however the
leaves are split between calls; a proof reads only the few tiles that it needs.
Refuses: tiles that do not match the size of their tree, with `ProofError`.
Standard: C2SP tlog-tiles.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice

from domain.proofs.errors import ProofError
from domain.proofs.merkle_tree import HASH_SIZE, Frontier, Node

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
MAX_ENTRY_SIZE = 0xFFFF
MAX_BUNDLE_SIZE = TILE_WIDTH * (2 + MAX_ENTRY_SIZE)
_FULL = TILE_WIDTH * HASH_SIZE


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """The place of a tile: its level, its index within the level, and how many hashes it has, 1 to 256."""

    level: int
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """The path under which the tile is served."""
        return f"tile/{self.level}/{_numbered(self.index, self.width)}"

    @property
    def entries_path(self) -> str:
        """The path under which the leaves of a tile of level 0 are served."""
        return f"tile/entries/{_numbered(self.index, self.width)}"


@dataclass(frozen=True, slots=True)
class TileRow:
    """A tile and its concatenated hashes."""

    tile: Tile
    hashes: bytes


FetchTiles = Callable[[Sequence[Tile]], Sequence[bytes]]
"""Returns the hashes of each tile. It may return a wider version of the same tile."""


def partial_width(level: int, size: int) -> int:
    """Return the width of the partial tile of `level` in a tree of `size` leaves, 0 when it has none."""
    return (size >> TILE_HEIGHT * level) % TILE_WIDTH


def tiles_of_level(level: int, size: int) -> Iterator[Tile]:
    """Yield the tiles of one level in a tree of `size` leaves, in order."""
    full = size >> TILE_HEIGHT * (level + 1)
    yield from (Tile(level, index) for index in range(full))
    if width := partial_width(level, size):
        yield Tile(level, full, width)


def levels(size: int) -> range:
    """Return the levels that a tree of `size` leaves has tiles of."""
    return range(-(-size.bit_length() // TILE_HEIGHT))


def encode_entries(entries: Iterable[bytes]) -> bytes:
    """Return the entry bundle of some leaves. Raises ValueError for a leaf of more than 65,535 bytes."""
    parts = list[bytes]()
    for entry in entries:
        if len(entry) > MAX_ENTRY_SIZE:
            raise ValueError(f"a leaf has at most {MAX_ENTRY_SIZE} bytes")
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def decode_entries(bundle: bytes, width: int) -> list[bytes]:
    """Return the leaves of an entry bundle. Raises ProofError unless there are exactly `width` of them."""
    entries, at = list[bytes](), 0
    while at < len(bundle):
        start = at + 2
        at = start + int.from_bytes(bundle[at:start], "big")
        entries.append(bundle[start:at])
    if at != len(bundle) or len(entries) != width:
        raise ProofError(f"an entry bundle of {width} leaves is truncated or has too many leaves")
    return entries


class TileBuilder:
    """Appends leaves to a tree of which it knows only the partial tiles. Not thread-safe."""

    def __init__(self, size: int = 0, edge: Mapping[int, bytes] | None = None) -> None:
        """size: leaves so far. edge: by level, the hashes of the partial tile, if the tree has one.

        Raises ProofError when size and edge do not match.
        """
        edge = edge or {}
        if size < 0 or any(level not in levels(size) for level in edge):
            raise ProofError("there is a partial tile of a level that the tree does not have")
        for level in levels(size):
            if len(edge.get(level, b"")) != partial_width(level, size) * HASH_SIZE:
                raise ProofError(
                    f"the partial tile of level {level} does not have the width that a tree of {size} leaves needs"
                )
        self._size = size
        self._edge = [bytearray(edge.get(level, b"")) for level in levels(size)]

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    @property
    def edge(self) -> dict[int, bytes]:
        """The partial tiles from which `TileBuilder(size, edge)` continues this tree."""
        return {level: bytes(hashes) for level, hashes in enumerate(self._edge) if hashes}

    def append(self, leaf_hashes: Iterable[bytes]) -> list[TileRow]:
        """Add the hashes of the next leaves; return each tile that changed, full or partial, as it is now."""
        before = self._size
        rows = self.complete(leaf_hashes)
        changed = (level for level in levels(self._size) if self._size >> TILE_HEIGHT * level != _count(level, before))
        return rows + [self._partial(level) for level in changed if self._edge[level]]

    def complete(self, leaf_hashes: Iterable[bytes]) -> list[TileRow]:
        """Add the hashes of the next leaves; return the tiles that became full, and only those."""
        rows, hashes = list[TileRow](), iter(leaf_hashes)
        while True:
            if not self._edge:
                self._edge.append(bytearray())
            room = TILE_WIDTH - len(self._edge[0]) // HASH_SIZE
            if not (taken := list(islice(hashes, room))):
                return rows
            if any(len(one) != HASH_SIZE for one in taken):
                raise ValueError("a hash has 32 bytes")
            self._edge[0] += b"".join(taken)
            self._size += len(taken)
            rows += self._close()

    def partial(self) -> list[TileRow]:
        """Return the partial tiles as they are now."""
        return [self._partial(level) for level, hashes in enumerate(self._edge) if hashes]

    def frontier(self) -> Frontier:
        """Return the right edge of the tree."""
        hashes = list[bytes]()
        for tile in map(bytes, reversed(self._edge)):
            at = 0
            while at < len(tile):
                width = 1 << ((len(tile) - at) // HASH_SIZE).bit_length() - 1
                hashes.append(tile_root(tile[at : at + width * HASH_SIZE]))
                at += width * HASH_SIZE
        return Frontier(self._size, hashes)

    def root(self) -> bytes:
        """Return the root of the tree as it is now."""
        return self.frontier().root()

    def _close(self) -> Iterator[TileRow]:
        """Yield the tiles at the edge that are full, and hash each into the level above it."""
        level = 0
        while len(self._edge[level]) == _FULL:
            hashes, self._edge[level] = bytes(self._edge[level]), bytearray()
            yield TileRow(Tile(level, (self._size >> TILE_HEIGHT * (level + 1)) - 1), hashes)
            level += 1
            if level == len(self._edge):
                self._edge.append(bytearray())
            self._edge[level] += tile_root(hashes)

    def _partial(self, level: int) -> TileRow:
        hashes = bytes(self._edge[level])
        return TileRow(Tile(level, _count(level + 1, self._size), len(hashes) // HASH_SIZE), hashes)


class TileHashes:
    """Hashes of subtrees from the tiles of a tree. Implements `domain.proofs.merkle_tree.HashReader`."""

    def __init__(self, size: int, fetch: FetchTiles) -> None:
        """size: leaves of the tree. fetch: called once for each proof, with the distinct tiles that it needs."""
        self._size = size
        self._fetch = fetch

    def subtrees(self, nodes: Sequence[Node]) -> Sequence[bytes]:
        """Return the hash of each node. Raises ProofError when a tile has too few hashes."""
        places = [self._place(node) for node in nodes]
        tiles = sorted({tile for tile, _, _ in places})
        found = dict(zip(tiles, self._fetch(tiles) if tiles else (), strict=True))
        for tile, hashes in found.items():
            if len(hashes) < tile.width * HASH_SIZE:
                raise ProofError(f"{tile.path} is truncated")
        return [tile_root(found[tile][start * HASH_SIZE : stop * HASH_SIZE]) for tile, start, stop in places]

    def _place(self, node: Node) -> tuple[Tile, int, int]:
        """Return the tile that a node is in, and the first and last of its hashes there."""
        level, within = divmod(node.height, TILE_HEIGHT)
        first = node.index << within
        index, start = divmod(first, TILE_WIDTH)
        full = index < _count(level + 1, self._size)
        return (
            Tile(level, index, TILE_WIDTH if full else partial_width(level, self._size)),
            start,
            start + (1 << within),
        )


def tile_root(hashes: bytes) -> bytes:
    """Return the root over hashes whose number is a power of two, as in a full tile."""
    while len(hashes) > HASH_SIZE:
        hashes = b"".join(
            [sha256(b"\x01" + hashes[at : at + 2 * HASH_SIZE]).digest() for at in range(0, len(hashes), 2 * HASH_SIZE)]
        )
    return hashes


def _count(level: int, size: int) -> int:
    """Return how many hashes a level has."""
    return size >> TILE_HEIGHT * level


def _numbered(index: int, width: int) -> str:
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join((*(f"x{group}" for group in groups[:-1]), groups[-1]))
    return path if width == TILE_WIDTH else f"{path}.p/{width}"
