"""Proposals, found through the audit trail and read from the log.

Promises: the audit trail only finds them; what a proposal says comes from the events of its own stream, whose codes are
checked, so a row that was changed shows nothing else. A proposal whose newest event no holder of the ledger's keys
wrote is an integrity error. The trail catches up before each read, so a proposal is listed once it was answered.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, LiteralString

from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from domain.approvals.listed import ProposalFilter
from domain.audit.personal_members import IN_EVERY_EVENT, disclosures_of
from domain.errors import CredentialIntegrityError
from domain.event_codec import event_of
from domain.events.event import Event
from domain.events.event_code import EventCodes, LogRow
from domain.events.personal import Disclosing, is_sealed
from projections.catch_up import CatchUp
from projections.database.connections import BoundedConnection, unavailable

_PLACES: LiteralString = """
SELECT position, stream_id FROM audit_trail
 WHERE action = 'proposal-made' AND position > %s AND (%s::uuid IS NULL OR tenant_id = %s::uuid)
 ORDER BY position LIMIT %s
"""
_ENDS: LiteralString = """
SELECT e.notification_id, e.originator_id, e.originator_version, e.topic, e.state, e.code_key_id, e.code
  FROM unnest(%s::uuid[]) WITH ORDINALITY AS wanted (stream, nth)
 CROSS JOIN LATERAL (
       (SELECT * FROM keyledger_events WHERE originator_id = wanted.stream ORDER BY originator_version LIMIT 1)
       UNION
       (SELECT * FROM keyledger_events WHERE originator_id = wanted.stream ORDER BY originator_version DESC LIMIT 1)
       ) AS e
 ORDER BY wanted.nth, e.originator_version
"""


class PostgresProposals:
    """Reads for administrators' requests. Implements `domain.approvals.listed.ProposalList`."""

    def __init__(
        self,
        pool: ConnectionPool[BoundedConnection],
        follower: CatchUp,
        codes: Callable[[], EventCodes],
        people: Disclosing,
    ) -> None:
        """follower: of the audit trail. codes: check events. people: opens names, addresses and reasons."""
        self._pool = pool
        self._follower = follower
        self._codes = codes
        self._people = people

    def page(self, wanted: ProposalFilter) -> tuple[Sequence[Sequence[Event]], int | None]:
        """Return proposals, and the position to continue after.

        Raises StoreUnavailableError, CredentialIntegrityError.
        """
        self._follower.run()
        found = self._rows(_PLACES, [wanted.after, wanted.tenant_id, wanted.tenant_id, wanted.limit])
        rows = map(LogRow._make, self._rows(_ENDS, [[stream for _, stream in found]]))
        events = [self._events(list(of_one)) for _, of_one in groupby(rows, attrgetter("stream"))]
        return events, found[-1][0] if len(found) == wanted.limit else None

    def opened(self, events: Sequence[Event]) -> Sequence[Mapping[str, str]]:
        """Return what can be read of who did something, from where and why. Raises as `page` does."""
        disclosed = disclosures_of(events, self._people)
        return [
            _in_clear(event) | {name: one.value for name, one in found.items() if name in IN_EVERY_EVENT}
            for event, found in zip(events, disclosed, strict=True)
        ]

    def _events(self, rows: Sequence[LogRow]) -> Sequence[Event]:
        if not self._codes().check(rows[-1]).proves:
            raise CredentialIntegrityError("event-code-not-proved", what="proposal")
        return [event_of(row) for row in rows]

    def _rows(self, statement: LiteralString, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with unavailable(), self._pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            return cursor.execute(statement, values).fetchall()


def _in_clear(event: Event) -> dict[str, str]:
    """Return the members that were stored in clear, such as what the service itself did."""
    texts = {name: getattr(event, name) for name in IN_EVERY_EVENT}
    return {name: text for name, text in texts.items() if text is not None and not is_sealed(text)}
