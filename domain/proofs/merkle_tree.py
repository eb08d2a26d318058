"""The Merkle tree over the log: hashes, roots, proofs, and their verification.

    leaf hash    SHA-256(0x00 || leaf)
    node hash    SHA-256(0x01 || left || right)
    root         of no leaves SHA-256(""); of one its leaf hash; else the node hash of the first 2^k leaves, 2^k being
                 the largest power of two below the count, and of the rest

Promises: appending to a frontier takes O(log n) and needs no earlier leaf; a proof reads all of its hashes in one call;
verification accepts exactly the proof that the standard prescribes, neither longer nor shorter.
Refuses: a proof that does not hold, with `ProofError`; an index or size that no tree can have, with ValueError.
Standards: RFC 6962, 2.1, for hashes and proofs; RFC 9162, 2.1.3.2 and 2.1.4.2, for verifying them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from domain.proofs.errors import ProofError

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()


@dataclass(frozen=True, slots=True)
class Node:
    """A complete subtree over 2^height leaves, the first of which has the index `index << height`."""

    height: int
    index: int


class HashReader(Protocol):
    """Reads the hashes that proofs are made of."""

    def subtrees(self, nodes: Sequence[Node]) -> Sequence[bytes]:
        """Return the hash of each node, in the order of `nodes`. Called once for a proof."""


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node over two hashes."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a tree: the hashes of its largest subtrees, left to right. Appending needs nothing else."""

    __slots__ = ("_hashes", "_size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """size: leaves so far. hashes: one for each bit set in `size`, the largest subtree first.

        Raises ValueError when size and hashes do not match.
        """
        if size < 0 or len(hashes) != size.bit_count() or any(len(one) != HASH_SIZE for one in hashes):
            raise ValueError("a frontier has one hash of 32 bytes for each bit set in its size")
        self._size = size
        self._hashes = list(hashes)

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The hashes from which `Frontier(size, hashes)` continues this tree."""
        return tuple(self._hashes)

    def append(self, leaf: bytes) -> None:
        """Add the hash of the next leaf."""
        below, self._size = self._size, self._size + 1
        while below & 1:
            leaf = node_hash(self._hashes.pop(), leaf)
            below >>= 1
        self._hashes.append(leaf)

    def root(self) -> bytes:
        """Return the root of the tree as it is now."""
        return _fold(self._hashes) if self._hashes else EMPTY_ROOT


def inclusion_proof(index: int, size: int, reader: HashReader) -> tuple[bytes, ...]:
    """Return the proof that the leaf at `index`, from 0, is in the tree of `size` leaves (RFC 6962, 2.1.1).

    Raises ValueError when the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError("no such leaf in a tree of this size")
    ranges, low, high = list[range](), 0, size
    while high - low > 1:
        middle = _split(low, high)
        if index < middle:
            ranges.append(range(middle, high))
            high = middle
        else:
            ranges.append(range(low, middle))
            low = middle
    return _hashes_of(ranges[::-1], reader)


def consistency_proof(older: int, size: int, reader: HashReader) -> tuple[bytes, ...]:
    """Return the proof that the tree of `size` leaves begins with the one of `older` leaves (RFC 6962, 2.1.2).

    Raises ValueError when the older tree is the larger one.
    """
    if not 0 <= older <= size:
        raise ValueError("the older tree is not larger than the newer one")
    if older in {0, size}:
        return ()
    ranges, low, high = list[range](), 0, size
    while older < high:
        middle = _split(low, high)
        if older <= middle:
            ranges.append(range(middle, high))
            high = middle
        else:
            ranges.append(range(low, middle))
            low = middle
    if low:  # else it is the older root, which the verifier has
        ranges.append(range(low, high))
    return _hashes_of(ranges[::-1], reader)


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf with hash `leaf` is at `index`, from 0, in the tree of `size` leaves under `root`.

    Raises ProofError.
    """
    _require_hashes((leaf, root, *proof))
    if not 0 <= index < size:
        raise ProofError("a tree of this size has no such leaf")
    place, last, computed = index, size - 1, leaf
    for one in proof:
        if not last:
            raise ProofError("the proof is too long")
        if place & 1 or place == last:
            computed = node_hash(one, computed)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            computed = node_hash(computed, one)
        place, last = place >> 1, last >> 1
    if last:
        raise ProofError("the proof is too short")
    if computed != root:
        raise ProofError("the proof leads to a different root")


def verify_consistency(older: int, size: int, proof: Sequence[bytes], older_root: bytes, root: bytes) -> None:
    """Check that the tree of `size` leaves under `root` begins with the one of `older` leaves under `older_root`.

    Raises ProofError.
    """
    _require_hashes((older_root, root, *proof))
    if not 0 <= older <= size:
        raise ProofError("the older tree is larger than the newer one")
    if older in {0, size}:
        if proof or older_root != (root if older else EMPTY_ROOT):
            raise ProofError("the roots of the two trees do not match")
        return
    path = list(proof) if older & (older - 1) else [older_root, *proof]
    if not path:
        raise ProofError("the proof is too short")
    place, last = older - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = path[0]
    for one in path[1:]:
        if not last:
            raise ProofError("the proof is too long")
        if place & 1 or place == last:
            before, after = node_hash(one, before), node_hash(one, after)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            after = node_hash(after, one)
        place, last = place >> 1, last >> 1
    if last:
        raise ProofError("the proof is too short")
    if before != older_root or after != root:
        raise ProofError("the proof leads to different roots")


def _split(low: int, high: int) -> int:
    """Return where a tree over at least two leaves is split."""
    return low + (1 << (high - low - 1).bit_length() - 1)


def _subtrees(leaves: range) -> Iterator[Node]:
    """Yield the largest complete subtrees that the leaves consist of, left to right."""
    low = leaves.start
    while low < leaves.stop:
        height = (leaves.stop - low).bit_length() - 1
        yield Node(height, low >> height)
        low += 1 << height


def _hashes_of(ranges: Sequence[range], reader: HashReader) -> tuple[bytes, ...]:
    parts = [list(_subtrees(leaves)) for leaves in ranges]
    found = iter(reader.subtrees([node for part in parts for node in part]))
    return tuple(_fold([next(found) for _ in part]) for part in parts)


def _fold(hashes: Sequence[bytes]) -> bytes:
    """Return the hash over adjacent subtrees, the largest first."""
    folded = hashes[-1]
    for one in hashes[-2::-1]:
        folded = node_hash(one, folded)
    return folded


def _require_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(one) != HASH_SIZE for one in hashes):
        raise ProofError("a hash must have 32 bytes")
