"""A checkpoint: the state of the log at one size, as the text that the log signs.

    origin                  the name of the log: that of its signing key, a slash and the id of the ledger
    size                    number of leaves, in decimal digits
    root                    base64 of the root of its Merkle tree
    further lines           optional; kept and signed, but not interpreted

Promises: a parsed checkpoint renders to the same text. Refuses: any other text, with `ProofError`.
Standard: C2SP tlog-checkpoint.
"""

import base64
from dataclasses import dataclass

from domain.proofs.errors import ProofError
from domain.proofs.merkle_tree import HASH_SIZE
from domain.proofs.signed_note import decode_base64

MAX_SIZE = (1 << 63) - 1


def origin_of(name: str, ledger_id: str) -> str:
    """Return the origin of a ledger's checkpoints, which is also the name of the key that verifies them.

    name: of the signing key. Two ledgers that share a signing key so are two logs to every verifier.
    """
    return f"{name}/{ledger_id}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log: `size` leaves under `root`, 32 bytes."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(not line or any(character < " " for character in line) for line in (self.origin, *self.extensions)):
            raise ProofError("a checkpoint must not have empty lines or control characters")
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_SIZE:
            raise ProofError("a checkpoint must have a size of 0 or more and a root of 32 bytes")

    @property
    def ledger_id(self) -> str:
        """The id of the ledger that the origin names; "" where it names none."""
        return self.origin.rpartition("/")[2] if "/" in self.origin else ""

    @property
    def text(self) -> str:
        """The text that is signed."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extensions))


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint that a note's text holds. Raises ProofError."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop():
        raise ProofError("a checkpoint must have the lines origin, size and root, each ending in a newline")
    origin, size, root, *extensions = lines
    if not (size.isascii() and size.isdigit()) or len(size) > 19 or str(int(size)) != size:
        raise ProofError("the size of a checkpoint must be a decimal number without leading zeros")
    return Checkpoint(origin, int(size), decode_base64(root), tuple(extensions))
