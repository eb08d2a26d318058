"""The result of verifying a store: numbers, and the first inconsistency."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from keyledger.store_verification.stored_times import StepBack

Progress = Callable[[str, int, int], None]
"""Called with the step, how many are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """One inconsistency.

    part: log, codes, tree, trail, people, current, bindings, checkpoint, anchor, times or store.

    position: in the log, if known. tenant_id, provider: of the credential, if it is about one.
    """

    part: str
    meaning: str
    position: int | None = None
    tenant_id: str | None = None
    provider: str | None = None


@dataclass(slots=True)
class StoreVerdict:
    """The numbers of a verification, and its first inconsistency; None if there is none.

    unopenable: live credentials whose encryption key is missing, so that their binding was not checked.
    codes_unchecked: events whose code was made with a key that was not given, or that have none.
    unopenable: live credentials whose encryption key is missing, so that their binding was not checked. anchors: places
    outside the database whose anchor was compared. attested: things in the database that were compared with what this
    program ships. unfit: a sentence for each kind that differs. steps_back: how often the time of the log goes back;
    listed_steps: the first ones.
    """

    events: int = 0
    streams: int = 0
    credentials: int = 0
    unopenable: int = 0
    codes_unchecked: int = 0
    checkpoint_size: int | None = None
    anchors: int = 0
    behind: Mapping[str, int] = field(default_factory=dict)
    error: Inconsistency | None = None
    attested: int = 0
    unfit: tuple[str, ...] = ()
    steps_back: int = 0
    listed_steps: tuple[StepBack, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the store is consistent and as this program ships it."""
        return self.error is None
