"""The proofs of the log: each fits the root that the checkpoint names."""

from itertools import pairwise

import pytest

from domain.errors import ErrorCode
from domain.proofs.checkpoint import parse_checkpoint
from domain.proofs.merkle_tree import EMPTY_ROOT, verify_consistency, verify_inclusion
from domain.proofs.signed_note import parse_note
from tests.contracts.ledgers import Ledger
from tests.support.errors import raises
from tests.support.scenario import OTHER_TENANT

SIZE = 9
"""Events in the history of `conftest.py`."""


def test_a_checkpoint_covers_the_whole_log(history: Ledger) -> None:
    made = history.proofs.checkpoint()
    said = parse_checkpoint(parse_note(made.note.encode()).text)
    assert (said.origin, said.size, said.root) == (made.origin, made.size, made.root)
    assert (made.size, made.root) == (SIZE, history.proofs.inclusion(1, None).root)


@pytest.mark.parametrize("size", [None, 1, 4, SIZE])
def test_every_position_is_proven_in_trees_of_any_size(history: Ledger, size: int | None) -> None:
    for position in range(1, (size or SIZE) + 1):
        found = history.proofs.inclusion(position, size)
        assert (found.position, found.size) == (position, size or SIZE)
        verify_inclusion(position - 1, found.size, found.leaf_hash, found.proof, found.root)


def test_a_tree_begins_with_every_smaller_one(history: Ledger) -> None:
    for older, size in pairwise([0, 1, 3, 8, SIZE]):
        found = history.proofs.consistency(older, size)
        assert (found.older, found.size) == (older, size)
        verify_consistency(older, size, found.proof, found.older_root, found.root)
    assert history.proofs.consistency(0, None).older_root == EMPTY_ROOT


ABSENT = [
    pytest.param(lambda proofs: proofs.inclusion(0, None), id="position 0"),
    pytest.param(lambda proofs: proofs.inclusion(SIZE + 1, None), id="a position after the end"),
    pytest.param(lambda proofs: proofs.inclusion(4, 3), id="a position after the end of a smaller tree"),
    pytest.param(lambda proofs: proofs.inclusion(1, SIZE + 1), id="a tree larger than the log"),
    pytest.param(lambda proofs: proofs.consistency(-1, None), id="a tree of fewer than no leaves"),
    pytest.param(lambda proofs: proofs.consistency(4, 3), id="a smaller tree that begins with a larger one"),
    pytest.param(lambda proofs: proofs.consistency(1, SIZE + 1), id="consistency with a tree larger than the log"),
]


@pytest.mark.parametrize("ask", ABSENT)
def test_there_is_no_proof_of(history: Ledger, ask) -> None:
    with raises(ErrorCode.NO_SUCH_PROOF):
        ask(history.proofs)


def test_the_evidence_of_the_log_is_every_leaf_with_its_stored_hash(history: Ledger) -> None:
    history.proofs.checkpoint()
    leaves = list(history.proofs.evidence(SIZE, None))
    proven = [history.proofs.inclusion(position, None) for position in range(1, SIZE + 1)]
    assert [(one.position, one.leaf, one.stored_hash, one.proof) for one in leaves] == [
        (one.position, one.leaf, one.leaf_hash, ()) for one in proven
    ]


def test_the_evidence_of_a_tenant_is_its_leaves_with_proofs(history: Ledger) -> None:
    history.proofs.checkpoint()
    leaves = list(history.proofs.evidence(SIZE, OTHER_TENANT))
    assert [one.position for one in leaves] == [3, 7]
    assert [list(one.proof) for one in leaves] == [list(history.proofs.inclusion(n, None).proof) for n in (3, 7)]
