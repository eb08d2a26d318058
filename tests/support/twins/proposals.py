"""The proposals in memory."""

from collections.abc import Mapping, Sequence

from domain.approvals.listed import ProposalFilter
from domain.approvals.proposal import ProposalMade
from domain.audit.personal_members import IN_EVERY_EVENT
from domain.events.event import Event
from tests.support.twins.log import MemoryLog


class MemoryProposals:
    """Implements `domain.approvals.listed.ProposalList` on a log. erased: actors whose names cannot be read."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.erased: set[str] = set()

    def page(self, wanted: ProposalFilter) -> tuple[Sequence[Sequence[Event]], int | None]:
        self._log.answer()
        made = [
            (position, event)
            for position, event in enumerate(self._log.events, 1)
            if isinstance(event, ProposalMade)
            and position > wanted.after
            and wanted.tenant_id in {None, event.tenant_id}
        ][: wanted.limit]
        streams = [self._log.stream(event.originator_id) for _, event in made]
        following = made[-1][0] if len(made) == wanted.limit else None
        return [[events[0], *events[1:][-1:]] for events in streams], following

    def opened(self, events: Sequence[Event]) -> Sequence[Mapping[str, str]]:
        return [
            {}
            if event.actor in self.erased
            else {name: text for name in IN_EVERY_EVENT if (text := getattr(event, name)) is not None}
            for event in events
        ]
