"""A checkpoint: what the log was at one size, in the text that a log signs.

    origin                  the name of the log
    size                    its leaves, in decimal digits
    root                    base64 of the root of its Merkle tree
    further lines           optional; carried, signed, and not interpreted

Promises: what is parsed renders to the same text. Refuses: anything else, with `ProofError`.
Standard: C2SP tlog-checkpoint.
"""

import base64
from dataclasses import dataclass

from domain.proofs.errors import ProofError
from domain.proofs.merkle_tree import HASH_SIZE
from domain.proofs.signed_note import decode_base64

MAX_SIZE = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log: `size` leaves under `root`, 32 bytes."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(not line or any(character < " " for character in line) for line in (self.origin, *self.extensions)):
            raise ProofError("the lines of a checkpoint are not empty and have no control characters")
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_SIZE:
            raise ProofError("a checkpoint has a size from 0 on and a root of 32 bytes")

    @property
    def text(self) -> str:
        """The text that is signed."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extensions))


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint that a note's text holds. Raises ProofError."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop():
        raise ProofError("a checkpoint is the lines origin, size and root, each with its newline")
    origin, size, root, *extensions = lines
    if not (size.isascii() and size.isdigit()) or len(size) > 19 or str(int(size)) != size:
        raise ProofError("the size of a checkpoint is a decimal number without leading zeros")
    return Checkpoint(origin, int(size), decode_base64(root), tuple(extensions))
