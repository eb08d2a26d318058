"""The other processes of a node, as one of them sees them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from api.front.bounds.node_counts import Counts
from api.front.node_registry import SharedReport


@dataclass(frozen=True, slots=True)
class Siblings:
    """reload: makes them read their settings again, and this process too. reports: returns what the others reported.

    share: shows a report of this process to them. counts: what all of them count together.
    """

    reload: Callable[[], None]
    reports: Callable[[], Iterable[SharedReport]]
    share: Callable[[bytes], None]
    counts: Counts
