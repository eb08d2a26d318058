"""Tiles hold the same tree however it grew, and proofs come out of few of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.proofs.errors import ProofError
from domain.proofs.merkle_tree import (
    HASH_SIZE,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from domain.proofs.tiles import (
    MAX_ENTRY_SIZE,
    Tile,
    TileBuilder,
    TileHashes,
    decode_entries,
    encode_entries,
    levels,
    partial_width,
    tiles_of_level,
)
from tests.support.merkle import root_of

LEAVES = [leaf_hash(str(number).encode()) for number in range(66_000)]


def stored(rows):
    return {(row.tile.level, row.tile.index): row.hashes for row in rows}


def reader(size, tiles, asked=None):
    def fetch(wanted):
        if asked is not None:
            asked.extend(wanted)
        return [tiles[tile.level, tile.index] for tile in wanted]

    return TileHashes(size, fetch)


@pytest.fixture(scope="module")
def large():
    """A tree of three levels, its tiles and its root by another way."""
    builder = TileBuilder()
    return stored(builder.append(LEAVES)), root_of(LEAVES)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        pytest.param(Tile(0, 0), "tile/0/000", id="the first"),
        pytest.param(Tile(1, 999), "tile/1/999", id="one group"),
        pytest.param(Tile(0, 1000), "tile/0/x001/000", id="two groups"),
        pytest.param(Tile(0, 1_234_067), "tile/0/x001/x234/067", id="the standard's example"),
        pytest.param(Tile(2, 0, 17), "tile/2/000.p/17", id="partial"),
        pytest.param(Tile(0, 273, 112), "tile/0/273.p/112", id="the edge of a tree of 70,000"),
    ],
)
def test_a_tile_is_served_at(tile, path):
    assert tile.path == path


def test_entries_are_served_beside_the_tiles():
    assert Tile(0, 1234, 5).entries_path == "tile/entries/x001/234.p/5"


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        pytest.param(0, [], id="nothing"),
        pytest.param(1, [(0, 1, 1)], id="one leaf"),
        pytest.param(256, [(0, 1, 0), (1, 1, 1)], id="exactly one tile"),
        pytest.param(70_000, [(0, 274, 112), (1, 2, 17), (2, 1, 1)], id="the standard's example"),
    ],
)
def test_a_tree_has_the_tiles(size, expected):
    found = [(level, len(list(tiles_of_level(level, size))), partial_width(level, size)) for level in levels(size)]
    assert found == expected


SPLITS = st.lists(st.integers(0, 700), max_size=8)


@given(SPLITS)
def test_a_tree_is_the_same_however_it_was_split(splits):
    tiles, builder = dict[tuple[int, int], bytes](), TileBuilder()
    for count in splits:
        builder = TileBuilder(builder.size, builder.edge)  # as after a restart
        tiles |= stored(builder.append(LEAVES[builder.size : builder.size + count]))
    leaves = LEAVES[: sum(splits)]
    at_once = TileBuilder()
    assert tiles == stored(at_once.append(leaves))
    assert builder.root() == at_once.root() == root_of(leaves)
    assert builder.frontier().hashes == at_once.frontier().hashes
    assert builder.size == len(leaves)


@given(st.integers(0, 1200), st.integers(0, 600))
def test_only_what_changed_is_returned_and_tiles_only_grow(before, more):
    builder = TileBuilder()
    tiles = stored(builder.append(LEAVES[:before]))
    rows = builder.append(LEAVES[before : before + more])
    for row in rows:
        old = tiles.get((row.tile.level, row.tile.index), b"")
        assert row.hashes.startswith(old)
        assert len(row.hashes) == row.tile.width * HASH_SIZE > len(old)
    assert bool(rows) == bool(more)


def test_full_tiles_come_first_and_partial_ones_when_asked_for():
    builder = TileBuilder()
    assert [row.tile for row in builder.complete(LEAVES[:600])] == [Tile(0, 0), Tile(0, 1)]
    assert [row.tile for row in builder.partial()] == [Tile(0, 2, 88), Tile(1, 0, 2)]


@pytest.mark.parametrize(
    ("size", "edge"),
    [
        pytest.param(1, {}, id="missing"),
        pytest.param(1, {0: bytes(64)}, id="too wide"),
        pytest.param(256, {0: bytes(32), 1: bytes(32)}, id="a level that is full"),
        pytest.param(1, {0: bytes(32), 1: bytes(32)}, id="a level too many"),
        pytest.param(-1, {}, id="less than nothing"),
    ],
)
def test_an_edge_of_another_size_is_refused(size, edge):
    with pytest.raises(ProofError):
        TileBuilder(size, edge)


def test_what_is_no_hash_is_not_appended():
    with pytest.raises(ValueError, match="32 bytes"):
        TileBuilder().append([b"short"])


@given(st.data())
def test_proofs_from_tiles_hold_and_read_few_of_them(large, data):
    tiles, root = large
    size, asked = len(LEAVES), list[Tile]()
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, reader(size, tiles, asked))
    verify_inclusion(index, size, LEAVES[index], proof, root)
    assert len(asked) == len(set(asked)) <= 5
    older = data.draw(st.integers(0, 2000))
    proof = consistency_proof(older, size, reader(size, tiles))
    verify_consistency(older, size, proof, root_of(LEAVES[:older]), root)


@given(st.integers(1, 1500))
def test_a_proof_in_an_older_tree_comes_out_of_the_wider_tiles_of_today(large, size):
    tiles, _ = large
    proof = inclusion_proof(size - 1, size, reader(size, tiles))
    verify_inclusion(size - 1, size, LEAVES[size - 1], proof, root_of(LEAVES[:size]))


def test_a_tile_that_is_cut_off_gives_no_proof(large):
    tiles, _ = large
    size = len(LEAVES)
    short = {place: hashes[:-1] for place, hashes in tiles.items()}
    with pytest.raises(ProofError, match=r"tile/\S+ is truncated"):
        inclusion_proof(0, size, reader(size, short))


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_entries_read_back(entries):
    assert decode_entries(encode_entries(entries), len(entries)) == entries


def test_an_entry_bundle_has_lengths_of_two_bytes_big_endian():
    assert encode_entries([b"a", b"bc" * 200]) == b"\x00\x01a\x01\x90" + b"bc" * 200


def test_the_largest_entry_fits_and_a_larger_one_is_refused():
    assert decode_entries(encode_entries([bytes(MAX_ENTRY_SIZE)]), 1) == [bytes(MAX_ENTRY_SIZE)]
    with pytest.raises(ValueError, match="at most 65535"):
        encode_entries([bytes(MAX_ENTRY_SIZE + 1)])


@pytest.mark.parametrize(
    ("bundle", "width"),
    [
        pytest.param(b"\x00\x01", 1, id="cut off in an entry"),
        pytest.param(b"\x00\x01a\x00", 1, id="cut off in a length"),
        pytest.param(b"\x00\x01a", 2, id="too few"),
        pytest.param(b"\x00\x01a\x00\x00", 1, id="too many"),
    ],
)
def test_an_entry_bundle_of_another_shape_is_refused(bundle, width):
    with pytest.raises(ProofError):
        decode_entries(bundle, width)
