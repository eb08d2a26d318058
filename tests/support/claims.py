"""Claims that a bundle of evidence makes and that any verifier of transparency logs can judge, with our own judgement.

A claim is a signed note, the inclusion of a leaf, or the consistency of two trees. What else `verify_bundle` checks
(the form of our files, and whether the history is possible) is not a claim; only we can judge it.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from domain.proofs.checkpoint import Checkpoint, parse_checkpoint
from domain.proofs.errors import ProofError
from domain.proofs.merkle_tree import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from domain.proofs.signed_note import open_note, parse_note
from domain.proofs.tiles import Tile, TileHashes, decode_entries, tiles_of_level
from keyledger.proofs.signing_keys import verifier_of
from tests.support.merkle import root_of


@dataclass(frozen=True)
class Note:
    """A checkpoint that the owner of a key signed."""

    note: bytes
    vkey: str

    def holds(self) -> bool:
        try:
            note, _ = open_note(self.note, [verifier_of(self.vkey)])
            parse_checkpoint(note.text)
        except ProofError:
            return False
        return True

    def respelled(self) -> "Note":
        """The note with the signatures as they have to be spelled.

        The last bits of base64 may be zero or not, for the same bytes. We read one spelling only, others read all.
        """
        text, gap, lines = self.note.rpartition(b"\n\n")
        return Note(text + gap + b"\n".join(map(_respelled, lines.split(b"\n"))), self.vkey)


@dataclass(frozen=True)
class Inclusion:
    """A record that has its place in a tree. leaf: the record itself."""

    index: int
    size: int
    leaf: bytes
    proof: tuple[bytes, ...]
    root: bytes

    def holds(self) -> bool:
        try:
            verify_inclusion(self.index, self.size, leaf_hash(self.leaf), self.proof, self.root)
        except ProofError:
            return False
        return True


@dataclass(frozen=True)
class Consistency:
    """A tree that begins with an older one of at least one leaf."""

    older: int
    size: int
    proof: tuple[bytes, ...]
    older_root: bytes
    root: bytes

    def holds(self) -> bool:
        try:
            verify_consistency(self.older, self.size, self.proof, self.older_root, self.root)
        except ProofError:
            return False
        return True


def _respelled(line: bytes) -> bytes:
    before, space, spelled = line.rpartition(b" ")
    try:
        return before + space + base64.b64encode(base64.b64decode(spelled, validate=True))
    except ValueError:
        return line


Claim = Note | Inclusion | Consistency


def claims_of(folder: Path, vkey: str) -> Iterator[Claim]:
    """Yield the claims of a bundle, which may be damaged: a part that cannot be read makes none.

    Proofs of a full bundle are computed from its tiles, as another tool would do it.
    """
    try:
        note = (folder / "checkpoint").read_bytes()
        yield Note(note, vkey)
        checkpoint = parse_checkpoint(parse_note(note).text)
    except (OSError, ProofError):
        return
    if (folder / "tenant.json").exists():
        yield from _of_tenant(folder, checkpoint)
    elif checkpoint.size < 1 << 20:
        yield from _of_whole(folder, checkpoint)


def _of_tenant(folder: Path, checkpoint: Checkpoint) -> Iterator[Claim]:
    try:
        lines = (folder / "records.jsonl").read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            members = json.loads(line)
            proof = tuple(base64.b64decode(one, validate=True) for one in members["proof"])
            index, leaf = members["position"] - 1, members["leaf"].encode()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        yield Inclusion(index, checkpoint.size, leaf, proof, checkpoint.root)


def _of_whole(folder: Path, checkpoint: Checkpoint) -> Iterator[Claim]:
    size, root = checkpoint.size, checkpoint.root
    hashes = TileHashes(size, lambda tiles: [(folder / tile.path).read_bytes() for tile in tiles])
    leaves = records_of(folder, size)
    for index, leaf in leaves.items():
        try:
            yield Inclusion(index, size, leaf, inclusion_proof(index, size, hashes), root)
        except (OSError, ProofError):
            continue
    for older in sorted({size // 2, size - 1, 1 << size.bit_length() - 1} if size else ()):
        if 1 <= older <= size and leaves.keys() >= set(range(older)):
            begins = root_of(leaf_hash(leaves[index]) for index in range(older))
            try:
                yield Consistency(older, size, consistency_proof(older, size, hashes), begins, root)
            except (OSError, ProofError):
                continue


def records_of(folder: Path, size: int) -> dict[int, bytes]:
    """Return the readable records of a full bundle by index."""
    found: dict[int, bytes] = {}
    for tile in tiles_of_level(0, size):
        for place, entry in enumerate(_entries(folder, tile)):
            found[tile.index * 256 + place] = entry
    return found


def _entries(folder: Path, tile: Tile) -> Sequence[bytes]:
    try:
        return decode_entries((folder / tile.entries_path).read_bytes(), tile.width)
    except (OSError, ProofError):
        return ()
