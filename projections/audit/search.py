"""Searches the audit trail and opens the personal members of what it returns.

Promises: reading catches up with the log first, so a reader sees every write acknowledged before the read. Entries
never move, so the page after a position is the same at any time. Keys are read for each page and forgotten with it, so
nothing is shown once its key is destroyed. No page takes longer as the log grows: a search that no index serves alone
looks through spans of positions until `BUDGET_S` have passed. Such a page may hold fewer entries than asked for, even
none, and says where the search continues.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from psycopg import sql
from psycopg_pool import ConnectionPool

from domain.audit.entries import AuditEntry, AuditFilter, FoundEntries
from domain.audit.request_events import Outcome
from domain.errors import CredentialIntegrityError
from domain.events.personal import Disclosing
from projections.audit.audit_trail import TABLE
from projections.audit.conditions import SOURCE, conditions, words_of
from projections.audit.rows import opened
from projections.catch_up import CatchUp, position_of
from projections.database.connections import BoundedConnection, Row, unavailable

BUDGET_S = 0.2
"""Seconds after which a page ends with what it has found."""
SPAN, SPAN_MAX = 20_000, 320_000
"""Positions that the first statement of a page looks through, and any: those of a quick one are doubled."""
WINDOW, WINDOW_MAX = 50, 200
"""Entries that the first statement opens to find a text or a fingerprint in them, and any: tens of milliseconds."""
_QUICK_S = 0.02
_NO_END = 2**63 - 1


class PostgresAuditTrail:
    """Reads the audit trail. Implements `domain.audit.entries.AuditTrail`."""

    def __init__(
        self,
        pool: ConnectionPool[BoundedConnection],
        catch_up: CatchUp,
        people: Disclosing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """clock: returns seconds that never decrease."""
        self._pool = pool
        self._catch_up = catch_up
        self._people = people
        self._clock = clock

    def page(self, wanted: AuditFilter) -> FoundEntries:
        """Return the matching entries, in order. Raises StoreUnavailableError, CredentialIntegrityError."""
        self._catch_up.run()
        person = self._people.person_named(wanted.actor) if wanted.actor is not None else None
        asked = _Asked(wanted, person, WINDOW if wanted.looks_inside else wanted.limit)
        found: list[AuditEntry] = []
        stretch, began = self._stretch(wanted), self._clock()
        while True:
            span, window, started = stretch.span(), asked.window, self._clock()
            entries = self._entries(asked, span)
            found += (entry for entry in entries if wanted.fits_inside(entry))
            if len(found) >= wanted.limit:
                return FoundEntries(found[: wanted.limit], found[wanted.limit - 1].position)
            now = self._clock()
            stretch.looked_at(span, entries[-1].position if len(entries) == window else None)
            stretch.took(now - started)
            if stretch.is_empty:
                return FoundEntries(found, None)
            if now - began >= BUDGET_S:
                return FoundEntries(found, stretch.following)

    def _stretch(self, wanted: AuditFilter) -> "_Stretch":
        bounded, end = not _is_indexed(wanted), _NO_END
        if bounded:
            with unavailable(), self._pool.connection() as connection:
                end = position_of(connection, TABLE) + 1
        before = end if wanted.before is None else min(wanted.before, end)
        return _Stretch(wanted.after, before, newest_first=wanted.newest_first, bounded=bounded)

    def _entries(self, asked: "_Asked", span: range) -> Sequence[AuditEntry]:
        wanted = replace(asked.wanted, after=span.start, before=span.stop)
        tests, values = conditions(wanted, asked.person, asked.names)
        query = sql.SQL("SELECT audit_trail.* FROM {} WHERE {} ORDER BY position {} LIMIT %s").format(
            sql.SQL(SOURCE if words_of(wanted) else TABLE),
            sql.SQL(" AND ").join(map(sql.SQL, tests)),
            sql.SQL("DESC" if wanted.newest_first else "ASC"),
        )
        with unavailable(), self._pool.connection() as connection:
            rows = connection.execute(query, [*values, asked.window]).fetchall()
        entries = opened(rows, self._people)
        if any(wanted.actor not in {None, entry.actor} and entry.actor is not None for entry in entries):
            raise CredentialIntegrityError("personal-lookup")  # the name's digest was moved to another person
        asked.note(rows, entries)
        return entries


@dataclass(slots=True)
class _Asked:
    """A filter, and what is learned while a page is searched.

    person: the token of the actor in it. names: of people whose entries were opened. window: entries of one statement.
    """

    wanted: AuditFilter
    person: str | None
    window: int
    names: dict[str, str] = field(default_factory=dict)

    def note(self, rows: Sequence[Row], entries: Sequence[AuditEntry]) -> None:
        """Note names, so that a text which is not in one is not looked for in each entry of that person."""
        if self.wanted.looks_inside:
            self.window = min(2 * self.window, WINDOW_MAX)
        for row, entry in zip(rows, entries, strict=True):
            if row["person"] is not None and entry.actor is not None:
                self.names[row["person"]] = entry.actor


class _Stretch:
    """The positions between two that are still to be looked through, in the order of a search.

    bounded: in spans, of `SPAN` positions at first.
    """

    def __init__(self, after: int, before: int, *, newest_first: bool, bounded: bool) -> None:
        self._after, self._before = after, before
        self._newest_first = newest_first
        self._bounded = bounded
        self._length = SPAN

    @property
    def is_empty(self) -> bool:
        return self._before - self._after <= 1

    @property
    def following(self) -> int:
        """The position from which a later search continues."""
        return self._before if self._newest_first else self._after

    def span(self) -> range:
        """Return the next span, of which neither end is included."""
        length = self._length + 1 if self._bounded else self._before
        if self._newest_first:
            return range(max(self._after, self._before - length), self._before)
        return range(self._after, min(self._before, self._after + length))

    def took(self, seconds: float) -> None:
        """Choose the length of the next span by how long the last one took."""
        self._length = min(2 * self._length, SPAN_MAX) if seconds < _QUICK_S else max(SPAN, self._length // 2)

    def looked_at(self, span: range, up_to: int | None) -> None:
        """Take away what was looked through: a whole span, or the part of it up to a position."""
        if self._newest_first:
            self._before = span.start + 1 if up_to is None else up_to
        else:
            self._after = span.stop - 1 if up_to is None else up_to


def _is_indexed(wanted: AuditFilter) -> bool:
    """Say whether an index leads to the entries alone, or every entry is one."""
    stated = {name for name in _FILTERS if getattr(wanted, name)}
    if wanted.outcome is Outcome.SUCCESS:
        return False  # most entries
    return stated in _SERVED


_FILTERS = (
    *("tenant_id", "provider", "actor", "since", "until", "action", "outcome", "key_id", "fingerprint", "texts"),
    *("reason", "of_credential"),
)
_SERVED = ({"tenant_id"}, {"tenant_id", "provider"}, {"outcome"}, {"key_id"}, set[str]())
"""Filters whose entries are next to each other in an index, in the order of positions."""
