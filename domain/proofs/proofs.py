"""The proofs that a caller can ask for: checkpoints, inclusion, consistency, and leaves as evidence.

Positions count from 1; the leaf of the event at position n has index n - 1 in the tree (RFC 6962).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from domain.errors import ErrorCode, NotFoundError
from domain.events.personal import Disclosure


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A signed checkpoint. note: the C2SP signed note as text. signed_at: when this node signed or read it."""

    note: str
    origin: str
    size: int
    root: bytes
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class Inclusion:
    """The proof that the leaf at a position is in the tree of `size` leaves. leaf: the hashed text, in UTF-8."""

    position: int
    size: int
    leaf: str
    leaf_hash: bytes
    proof: Sequence[bytes]
    root: bytes


@dataclass(frozen=True, slots=True)
class Consistency:
    """The proof that the tree of `size` leaves begins with the one of `older` leaves."""

    older: int
    size: int
    older_root: bytes
    root: bytes
    proof: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class ProvenLeaf:
    """A leaf as evidence. stored_hash: the leaf hash that the tree has at its position; None if it has none.

    proof: as in `Inclusion`; empty if the whole log is exported. disclosed: by name, the personal members whose keys
    exist.
    """

    position: int
    leaf: str
    stored_hash: bytes | None
    proof: Sequence[bytes] = ()
    disclosed: Mapping[str, Disclosure] = field(default_factory=dict)


class TransparencyLog(Protocol):
    """Proves what the log holds and that it only grew. Catches up with the log before it answers."""

    def checkpoint(self) -> SignedCheckpoint:
        """Return a checkpoint of the log as it is now.

        Raises CheckpointRefusedError; NotFoundError if signing is off.
        """
        ...

    def inclusion(self, position: int, size: int | None) -> Inclusion:
        """Prove that a position is in the tree of `size` leaves, by default the whole log. Raises NotFoundError."""
        ...

    def consistency(self, older: int, size: int | None) -> Consistency:
        """Prove that the tree of `size` leaves, by default the whole log, begins with that of `older` leaves.

        Raises NotFoundError.
        """
        ...

    def evidence(self, size: int, tenant_id: str | None) -> Iterator[ProvenLeaf]:
        """Yield the leaves of the tree of `size` leaves: all without proofs, or those of one tenant with proofs."""
        ...


def proof_not_found(what: str) -> NotFoundError:
    """Return the error for something that is not in the log, so that nothing can be proven about it."""
    return NotFoundError(ErrorCode.NO_SUCH_PROOF, f"There is no such proof: {what}.")


def signing_off() -> NotFoundError:
    """Return the error for a request for a checkpoint when the service has no signing key."""
    return NotFoundError(
        ErrorCode.SIGNING_OFF,
        "This service does not sign checkpoints. An operator can set AUDIT_SIGNING_KEY; create one with:"
        " keyledger audit generate-signing-key",
    )
