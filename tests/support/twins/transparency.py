"""The transparency log in memory."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from domain.audit.leaf import leaf_of
from domain.errors import ServiceError
from domain.events.event import Clock
from domain.proofs.checkpoint import Checkpoint
from domain.proofs.merkle_tree import EMPTY_ROOT, Node, consistency_proof, inclusion_proof, leaf_hash
from domain.proofs.proofs import Consistency, Inclusion, ProvenLeaf, SignedCheckpoint, proof_not_found
from domain.proofs.tiles import TileBuilder
from tests.support.rows import row_of
from tests.support.twins.log import MemoryLog


class MemoryTransparency:
    """Implements `domain.proofs.proofs.TransparencyLog`. Hashes the whole tree for each question.

    refusal: raised in place of a checkpoint.
    """

    def __init__(self, log: MemoryLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self.refused: ServiceError | None = None

    def checkpoint(self) -> SignedCheckpoint:
        if self.refused is not None:
            raise self.refused
        leaves = self._leaves()
        size, root = len(leaves), _root([leaf_hash(leaf) for leaf in leaves])
        text = Checkpoint("memory", size, root).text
        return SignedCheckpoint(f"{text}\n\N{EM DASH} memory AAAAAAA=\n", "memory", size, root, self._clock())

    def inclusion(self, position: int, size: int | None) -> Inclusion:
        leaves = self._leaves(size)
        if not 1 <= position <= len(leaves):
            raise proof_not_found(f"no position {position}")
        hashes = [leaf_hash(leaf) for leaf in leaves]
        proof = inclusion_proof(position - 1, len(leaves), _Hashes(hashes))
        text = leaves[position - 1].decode()
        return Inclusion(position, len(leaves), text, hashes[position - 1], proof, _root(hashes))

    def consistency(self, older: int, size: int | None) -> Consistency:
        hashes = [leaf_hash(leaf) for leaf in self._leaves(size)]
        if not 0 <= older <= len(hashes):
            raise proof_not_found(f"no tree of {older}")
        proof = consistency_proof(older, len(hashes), _Hashes(hashes))
        return Consistency(older, len(hashes), _root(hashes[:older]), _root(hashes), proof)

    def evidence(self, size: int, tenant_id: str | None) -> Iterator[ProvenLeaf]:
        for position, leaf in enumerate(self._leaves(size), start=1):
            if tenant_id in {None, json.loads(leaf)["tenant_id"]}:
                proof = () if tenant_id is None else self.inclusion(position, size).proof
                yield ProvenLeaf(position, leaf.decode(), leaf_hash(leaf), proof)

    def _leaves(self, size: int | None = None) -> list[bytes]:
        self._log.answer()
        if size is not None and size > len(self._log.events):
            raise proof_not_found(f"no tree of {size}")
        events = enumerate(self._log.events[:size], start=1)
        return [leaf_of(event, row_of(position, event)) for position, event in events]


@dataclass
class _Hashes:
    """Hashes of subtrees, each computed from the leaves."""

    leaves: Sequence[bytes]

    def subtrees(self, nodes: Sequence[Node]) -> Sequence[bytes]:
        return [_root(self.leaves[node.index << node.height : (node.index + 1) << node.height]) for node in nodes]


def _root(hashes: Sequence[bytes]) -> bytes:
    if not hashes:
        return EMPTY_ROOT
    builder = TileBuilder()
    list(builder.complete(hashes))
    return builder.root()
