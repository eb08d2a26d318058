"""The proofs of the log, in the words of those who ask for them: checkpoints, inclusion, consistency, leaves.

Positions count from 1; the leaf of the event at position n has index n - 1 in the tree (RFC 6962).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.errors import ErrorCode, NotFoundError


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint that was signed. note: C2SP signed note as text. signed_at: when this node signed or read it."""

    note: str
    origin: str
    size: int
    root: bytes
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class Inclusion:
    """What shows that the leaf of a position is in the tree of `size` leaves. leaf: as it is hashed, UTF-8 text."""

    position: int
    size: int
    leaf: str
    leaf_hash: bytes
    proof: Sequence[bytes]
    root: bytes


@dataclass(frozen=True, slots=True)
class Consistency:
    """What shows that the tree of `size` leaves begins with the one of `older` leaves."""

    older: int
    size: int
    older_root: bytes
    root: bytes
    proof: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class ProvenLeaf:
    """A leaf as evidence. stored_hash: what the tree has at its place; None where it has nothing.

    proof: as in `Inclusion`, empty where the whole log is given.
    """

    position: int
    leaf: str
    stored_hash: bytes | None
    proof: Sequence[bytes] = ()


class TransparencyLog(Protocol):
    """Proves what the log holds and that it only grew. Catches up with the log before it answers."""

    def checkpoint(self) -> SignedCheckpoint:
        """Return a checkpoint of the log as it is now. Raises CheckpointRefusedError, NotFoundError."""
        ...

    def inclusion(self, position: int, size: int | None) -> Inclusion:
        """Prove that a position is in the tree of `size` leaves, by default of all. Raises NotFoundError."""
        ...

    def consistency(self, older: int, size: int | None) -> Consistency:
        """Prove that the tree of `size` leaves, by default of all, begins with that of `older`.

        Raises NotFoundError.
        """
        ...

    def evidence(self, size: int, tenant_id: str | None) -> Iterator[ProvenLeaf]:
        """Yield every leaf of the tree of `size` leaves; of one tenant alone with inclusion proofs, of all without."""
        ...


def proof_not_found(what: str) -> NotFoundError:
    """Return the error for what cannot be proven because it is not in the log."""
    return NotFoundError(ErrorCode.NO_SUCH_PROOF, f"There is no such proof: {what}.")


def signing_off() -> NotFoundError:
    """Return the error for a checkpoint where the service has no key to sign one with."""
    return NotFoundError(
        ErrorCode.SIGNING_OFF,
        "This service signs no checkpoints. An operator can set AUDIT_SIGNING_KEY; make one with:"
        " keyledger audit generate-signing-key",
    )
