"""A full bundle: every record of the log as C2SP static tiles, written and read in one pass each.

Promises: memory is bounded by one tile's records, however long the log is; a bundle that would not verify is not
published; reading recomputes every hash and names the first record that differs from the one in the tree.
Refuses: records that are not those of the checkpoint. The contents of records are checked in `history`.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

from domain.proofs.checkpoint import Checkpoint, parse_checkpoint
from domain.proofs.errors import ProofError
from domain.proofs.merkle_tree import EMPTY_ROOT, HASH_SIZE, leaf_hash
from domain.proofs.signed_note import parse_note
from domain.proofs.tiles import (
    MAX_BUNDLE_SIZE,
    TILE_WIDTH,
    Tile,
    TileBuilder,
    TileRow,
    decode_entries,
    encode_entries,
    tiles_of_level,
)
from keyledger.evidence import layout
from keyledger.evidence.errors import EvidenceError

Progress = Callable[[int, int], None]
"""progress(done, total): called with the number of records."""


def silent(done: int, total: int) -> None:
    """Report no progress."""


class FullBundleWriter:
    """Writes one full bundle."""

    def __init__(self, folder: Path) -> None:
        """folder: a new or empty one."""
        self._folder = folder

    def write(
        self,
        leaves: Iterable[bytes],
        checkpoint: bytes,
        progress: Progress = silent,
        disclosures: Iterable[bytes] = (),
    ) -> None:
        """Write all leaves of the log, in order, under their signed checkpoint.

        disclosures: lines for the leaves that were read, see `disclosures`.

        Raises ProofError for a malformed checkpoint, EvidenceError when the leaves are not those of the checkpoint,
        ValueError for a leaf that is too long, and OSError. Nothing is left behind then.
        """
        signed = parse_checkpoint(parse_note(checkpoint).text)
        with layout.bundle_folder(self._folder) as draft:
            builder, rest = TileBuilder(), iter(leaves)
            for tile in tiles_of_level(0, signed.size):
                entries = list(islice(rest, tile.width))
                if len(entries) < tile.width:
                    missing = tile.index * TILE_WIDTH + len(entries) + 1
                    raise EvidenceError(f"it is missing, but the checkpoint covers {signed.size} records.", missing)
                _write(draft / tile.entries_path, encode_entries(entries))
                _write_rows(draft, builder.complete(map(leaf_hash, entries)))
                progress(builder.size, signed.size)
            if next(rest, None) is not None:
                raise EvidenceError("it is not covered by the checkpoint.", signed.size + 1)
            if builder.root() != signed.root:
                raise EvidenceError("The records are not those that the checkpoint was signed over.")
            _write_rows(draft, builder.partial())
            layout.finish(draft, checkpoint, disclosures)


def recompute(
    folder: Path,
    checkpoint: Checkpoint,
    older: Checkpoint | None,
    look: Callable[[int, bytes], None],
    progress: Progress = silent,
) -> int:
    """Recompute every tile and the root of a full bundle from its entries; return how many tiles there are.

    older: a checkpoint that the tree must extend. look: called with each position and leaf, in order, once the leaf's
    hash has been compared with its tile. Raises EvidenceError, with the first wrong position if it can be determined.
    """
    builder, tiles = TileBuilder(), 0
    older_root = EMPTY_ROOT if older is not None and older.size == 0 else None
    for tile in tiles_of_level(0, checkpoint.size):
        first = builder.size
        entries, hashes = _tile_of_leaves(folder, tile, first)
        cut = older.size - first if older is not None else 0
        if older is not None and 0 < cut <= tile.width:
            rows = builder.complete(hashes[:cut])
            older_root = builder.root()
            rows += builder.complete(hashes[cut:])
        else:
            rows = builder.complete(hashes)
        tiles += _compare(folder, rows)
        for nth, entry in enumerate(entries, start=first + 1):
            look(nth, entry)
        progress(builder.size, checkpoint.size)
    tiles += _compare(folder, builder.partial())
    if builder.root() != checkpoint.root:
        raise EvidenceError(
            "The records in this bundle, taken together, are not those that the checkpoint was signed over: at least"
            " one was changed, removed or inserted, and the tiles were recomputed to match."
        )
    if older is not None and older_root != older.root:
        raise EvidenceError(
            f"The first {older.size} records are not those of the older checkpoint: the log was rewritten since, and"
            " signed again."
        )
    return tiles


def tile_files(folder: Path, tiles: Iterable[Tile]) -> list[bytes]:
    """Return the hashes in some tiles of a bundle. Raises EvidenceError."""
    return [_hashes(folder, tile) for tile in tiles]


def _tile_of_leaves(folder: Path, tile: Tile, first: int) -> tuple[list[bytes], list[bytes]]:
    """Return the entries of a tile of level 0 and their hashes, compared with those in the tile."""
    data = layout.read(folder, tile.entries_path, MAX_BUNDLE_SIZE, first + 1)
    try:
        entries = decode_entries(data, tile.width)
    except ProofError:
        meaning = f"{tile.entries_path} does not hold {tile.width} records: some were removed, added or truncated."
        raise EvidenceError(meaning, first + 1) from None
    hashes, kept = list(map(leaf_hash, entries)), _hashes(folder, tile)
    if b"".join(hashes) != kept:
        wrong = next(n for n, one in enumerate(hashes) if kept[n * HASH_SIZE : (n + 1) * HASH_SIZE] != one)
        raise EvidenceError(
            f"its hash is not the one in {tile.path}: the record was changed after it was signed, or the tile was.",
            first + wrong + 1,
        )
    return entries, hashes


def _compare(folder: Path, rows: Sequence[TileRow]) -> int:
    """Compare tiles above level 0 with those in the bundle; return the number of tiles, including level 0."""
    for row in rows:
        if row.tile.level and _hashes(folder, row.tile) != row.hashes:
            span = TILE_WIDTH ** (row.tile.level + 1)
            raise EvidenceError(
                f"{row.tile.path} does not match the hashes of the records from here on: the tile was changed, or"
                " one of these records together with its own tile.",
                row.tile.index * span + 1,
            )
    return len(rows)


def _hashes(folder: Path, tile: Tile) -> bytes:
    first = tile.index * TILE_WIDTH ** (tile.level + 1) + 1
    hashes = layout.read(folder, tile.path, TILE_WIDTH * HASH_SIZE, first)
    if len(hashes) != tile.width * HASH_SIZE:
        raise EvidenceError(f"{tile.path} does not hold {tile.width} hashes.", first)
    return hashes


def _write_rows(draft: Path, rows: Iterable[TileRow]) -> None:
    for row in rows:
        _write(draft / row.tile.path, row.hashes)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
