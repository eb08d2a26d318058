"""What a verification of a store found: numbers, and the first thing that is wrong."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Progress = Callable[[str, int, int], None]
"""Told which step it is, and how many of how many are done."""


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """What is wrong. part: log, tree, trail, current, bindings or checkpoint. position: of the log, where there is one.

    tenant_id, provider: of the credential, where one is concerned.
    """

    part: str
    meaning: str
    position: int | None = None
    tenant_id: str | None = None
    provider: str | None = None


@dataclass(slots=True)
class StoreVerdict:
    """What was verified, in numbers, and the first fault; None when there is none.

    unopenable: live credentials whose encryption key is not at hand, so that their binding was not checked.
    """

    events: int = 0
    streams: int = 0
    credentials: int = 0
    unopenable: int = 0
    checkpoint_size: int | None = None
    behind: Mapping[str, int] = field(default_factory=dict)
    fault: Inconsistency | None = None

    @property
    def holds(self) -> bool:
        """Whether everything belongs together."""
        return self.fault is None
