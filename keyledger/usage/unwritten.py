"""Records of counts that wait for the database, and their way into it.

Promises: each record is added exactly once, with any number of nodes, even if the database was unavailable meanwhile or
the answer to a commit was lost. What could not be written is kept for the next time.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, Protocol, Self, TypeVar

from domain.errors import StoreUnavailableError


class Summable(Protocol):
    """A record of counts at a place."""

    @property
    def place(self) -> Hashable:
        """The key of the record."""
        ...

    def plus(self, other: Self, /) -> Self:
        """Return the counts of both, which have one place."""
        ...


R = TypeVar("R", bound=Summable)
R_contra = TypeVar("R_contra", contravariant=True)


class Additions(Protocol[R_contra]):
    """Adds up counts in the database."""

    def add(self, records: Sequence[R_contra]) -> str | None:
        """Add all or none. Return the transaction when its outcome is unknown. Raises StoreUnavailableError."""
        ...

    def was_added(self, transaction: str) -> bool:
        """Say whether an addition took effect. Raises StoreUnavailableError."""
        ...


class Unwritten(Generic[R]):
    """The records of one table. batch: the most for one addition."""

    def __init__(self, additions: Additions[R], batch: int) -> None:
        self._additions = additions
        self._batch = batch
        self._waiting: dict[Hashable, R] = {}
        self._doubtful: tuple[str, Sequence[R]] | None = None

    def __len__(self) -> int:
        """Return how many records wait."""
        return len(self._waiting)

    @property
    def waits(self) -> bool:
        """Whether anything is not known to be stored."""
        return bool(self._waiting or self._doubtful)

    def keep(self, records: Iterable[R]) -> None:
        """Take records to be written."""
        for record in records:
            known = self._waiting.get(record.place)
            self._waiting[record.place] = record if known is None else known.plus(record)

    def write(self) -> None:
        """Write everything. Raises StoreUnavailableError; what may not have been written is then kept."""
        if self._doubtful is not None:
            transaction, records = self._doubtful
            if not self._additions.was_added(transaction):
                self.keep(records)
            self._doubtful = None
        waiting = list(self._waiting.values())
        for start in range(0, len(waiting), self._batch):
            batch = waiting[start : start + self._batch]
            doubtful = self._additions.add(batch)
            for record in batch:
                del self._waiting[record.place]
            if doubtful is not None:
                self._doubtful = (doubtful, batch)
                raise StoreUnavailableError
