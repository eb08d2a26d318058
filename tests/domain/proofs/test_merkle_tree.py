"""Roots and proofs are those of RFC 6962; what is not, is refused."""

import base64
import json
from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.proofs.errors import ProofError
from domain.proofs.merkle_tree import (
    EMPTY_ROOT,
    Frontier,
    Node,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from tests.support.each import each
from tests.support.merkle import root_of
from tests.support.places import GOLDEN

VECTORS = json.loads((GOLDEN / "transparency/merkle_proofs.json").read_text())
MOST = 70
LEAVES = [leaf_hash(str(number).encode()) for number in range(MOST)]

# The standard's own definitions, word for word and slow: recursive slices of the whole list.


def mth(leaves):
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m, leaves):
    if len(leaves) == 1:
        return []
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m, leaves, whole=True):
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


class Recomputed:
    """Hashes of subtrees from all leaves; notes how often it was asked."""

    def __init__(self):
        self.questions = 0

    def subtrees(self, nodes: Sequence[Node]) -> list[bytes]:
        self.questions += 1
        return [mth(LEAVES[node.index << node.height : (node.index + 1) << node.height]) for node in nodes]


def decoded(texts):
    return [base64.b64decode(text) for text in texts or ()]


@pytest.mark.parametrize("name", [name for name in VECTORS if name.startswith("inclusion")])
def test_the_public_inclusion_vector(name):
    vector = VECTORS[name]
    leaf, root = decoded([vector["leafHash"], vector["root"]])
    question = (vector["leafIdx"], vector["treeSize"], leaf, decoded(vector["proof"]), root)
    if vector["wantErr"]:
        with pytest.raises(ProofError):
            verify_inclusion(*question)
    else:
        verify_inclusion(*question)


@pytest.mark.parametrize("name", [name for name in VECTORS if name.startswith("consistency")])
def test_the_public_consistency_vector(name):
    vector = VECTORS[name]
    older, newer = decoded([vector["root1"], vector["root2"]])
    question = (vector["size1"], vector["size2"], decoded(vector["proof"]), older, newer)
    if vector["wantErr"]:
        with pytest.raises(ProofError):
            verify_consistency(*question)
    else:
        verify_consistency(*question)


def test_a_leaf_and_a_node_with_the_same_bytes_have_different_hashes():
    left, right = LEAVES[:2]
    assert leaf_hash(left + right) != mth([left, right])


@each("size", range(MOST))
def test_the_root_is_that_of_the_definition(size):
    assert root_of(LEAVES[:size]) == mth(LEAVES[:size])


@given(st.integers(0, MOST), st.integers(0, MOST))
def test_a_frontier_goes_on_where_it_was_left(one, other):
    before, size = sorted((one, other))
    first = Frontier()
    for leaf in LEAVES[:before]:
        first.append(leaf)
    second = Frontier(first.size, first.hashes)
    for leaf in LEAVES[before:size]:
        second.append(leaf)
    assert (second.size, second.root()) == (size, mth(LEAVES[:size]))


@pytest.mark.parametrize(
    ("size", "hashes"),
    [
        pytest.param(3, LEAVES[:1], id="too few hashes"),
        pytest.param(0, LEAVES[:1], id="a hash of nothing"),
        pytest.param(1, [b"short"], id="a hash of another length"),
        pytest.param(-1, LEAVES[:1], id="less than nothing"),
    ],
)
def test_a_frontier_of_parts_that_do_not_fit_is_refused(size, hashes):
    with pytest.raises(ValueError, match="a frontier has"):
        Frontier(size, hashes)


@each("size", range(1, MOST))
def test_every_inclusion_proof_is_that_of_the_definition_and_verifies(size):
    root = mth(LEAVES[:size])
    for index in range(size):
        reader = Recomputed()
        proof = inclusion_proof(index, size, reader)
        assert list(proof) == path(index, LEAVES[:size])
        assert reader.questions == 1
        verify_inclusion(index, size, LEAVES[index], proof, root)


@each("size", range(1, MOST))
def test_every_consistency_proof_is_that_of_the_definition_and_verifies(size):
    root = mth(LEAVES[:size])
    for older in range(1, size + 1):
        proof = consistency_proof(older, size, Recomputed())
        assert list(proof) == subproof(older, LEAVES[:size])
        verify_consistency(older, size, proof, mth(LEAVES[:older]), root)


def test_every_tree_begins_with_the_empty_one_and_no_other_root_is_empty():
    verify_consistency(0, 5, (), EMPTY_ROOT, root_of(LEAVES[:5]))
    with pytest.raises(ProofError):
        verify_consistency(0, 5, (), root_of(LEAVES[:5]), root_of(LEAVES[:5]))


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3)])
def test_a_proof_of_a_leaf_that_is_not_there_cannot_be_had(index, size):
    with pytest.raises(ValueError, match="no such leaf"):
        inclusion_proof(index, size, Recomputed())
    with pytest.raises(ProofError):
        verify_inclusion(index, size, LEAVES[0], (), LEAVES[0])


def test_a_proof_that_a_tree_begins_with_a_larger_one_cannot_be_had():
    with pytest.raises(ValueError, match="not larger"):
        consistency_proof(4, 3, Recomputed())
    with pytest.raises(ProofError):
        verify_consistency(4, 3, (), LEAVES[0], LEAVES[0])


def tampered(data, proof):
    """A proof that differs: a bit turned, a hash removed, added or moved."""
    proof = list(proof)
    at = data.draw(st.integers(0, max(len(proof) - 1, 0)))
    kind = data.draw(st.sampled_from(["bit", "removed", "added", "swapped", "cut"]))
    if kind == "added" or not proof:
        return [*proof[:at], sha256(b"other").digest(), *proof[at:]]
    if kind == "removed":
        return [*proof[:at], *proof[at + 1 :]]
    if kind == "cut":
        return [*proof[:at], proof[at][:-1], *proof[at + 1 :]]
    if kind == "swapped" and len(proof) > 1:
        return [*proof[1:], proof[0]]
    bit = data.draw(st.integers(0, 255))
    turned = (int.from_bytes(proof[at], "big") ^ (1 << bit)).to_bytes(32, "big")
    return [*proof[:at], turned, *proof[at + 1 :]]


@given(st.data())
def test_a_tampered_inclusion_proof_is_refused(data):
    size = data.draw(st.integers(1, MOST - 1))
    index = data.draw(st.integers(0, size - 1))
    proof = tampered(data, inclusion_proof(index, size, Recomputed()))
    with pytest.raises(ProofError):
        verify_inclusion(index, size, LEAVES[index], proof, mth(LEAVES[:size]))


@given(st.data())
def test_a_tampered_consistency_proof_is_refused(data):
    size = data.draw(st.integers(1, MOST - 1))
    older = data.draw(st.integers(1, size))
    proof = tampered(data, consistency_proof(older, size, Recomputed()))
    with pytest.raises(ProofError):
        verify_consistency(older, size, proof, mth(LEAVES[:older]), mth(LEAVES[:size]))


@given(st.data())
def test_a_proof_holds_for_its_own_leaf_alone(data):
    size = data.draw(st.integers(2, MOST - 1))
    index, other = data.draw(st.lists(st.integers(0, size - 1), min_size=2, max_size=2, unique=True))
    proof, root = inclusion_proof(index, size, Recomputed()), mth(LEAVES[:size])
    with pytest.raises(ProofError):
        verify_inclusion(index, size, LEAVES[other], proof, root)
    with pytest.raises(ProofError):
        verify_inclusion(other, size, LEAVES[index], proof, root)


@pytest.mark.parametrize("older", range(1, 13))
def test_a_consistency_proof_holds_for_its_own_two_roots_alone(older):
    size, other = 13, sha256(b"other").digest()
    proof = consistency_proof(older, size, Recomputed())
    for roots in ((other, mth(LEAVES[:size])), (mth(LEAVES[:older]), other)):
        with pytest.raises(ProofError):
            verify_consistency(older, size, proof, *roots)
