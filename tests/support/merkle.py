"""The root of a whole tree, for tests that have all of its leaves at hand."""

from collections.abc import Iterable

from domain.proofs.merkle_tree import Frontier


def root_of(leaf_hashes: Iterable[bytes]) -> bytes:
    """Return the root over leaf hashes."""
    frontier = Frontier()
    for one in leaf_hashes:
        frontier.append(one)
    return frontier.root()
