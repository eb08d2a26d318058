"""The present state of the ledger in the database, and how it contradicts what is known of it.

Promises: read-only, a few statements by primary key, whatever the size of the log. Recorded are the ledger's id, the
last event, and the root of the hash tree, so a log with another id, with fewer events, or with any recorded event
changed along with its tree is distinguished from one that has only grown. A projection must not be ahead of the log.
Does not detect: an event changed in the log alone, without the tree; `keyledger verify` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from domain.audit.leaf import row_digest
from domain.errors import CredentialIntegrityError, StoreUnavailableError
from domain.events.event_code import LogRow
from domain.proofs.merkle_tree import EMPTY_ROOT
from keyledger.log.anchors.anchor import Anchor
from keyledger.log.anchors.contradiction import Contradiction, Kind
from projections.audit import audit_trail
from projections.database.connections import BoundedConnection, Connection, Row, unavailable
from projections.proofs import transparency_log

CREDENTIALS_LOOKED_AT = 20_000
"""Rows of `current_credentials` that a start compares with the log."""
ENTRIES_LOOKED_AT = 1_000
"""The last entries of the audit trail, none of which may be missing."""

# One statement: one snapshot, so no projection can seem ahead of the log.
_STATE = """
SELECT ledger.ledger_id::text,
       coalesce((SELECT max(notification_id) FROM keyledger_events), 0) AS head,
       coalesce((SELECT position FROM projection_positions WHERE projection = 'transparency_log'), 0) AS tree_size,
       coalesce((SELECT tile * 256 + octet_length(hashes) / 32 FROM transparency_log
                  WHERE level = 0 ORDER BY tile DESC LIMIT 1), 0) AS leaves,
       coalesce((SELECT position FROM projection_positions WHERE projection = 'audit_trail'), 0) AS trail,
       coalesce((SELECT max(position) FROM audit_trail), 0) AS entries,
       (SELECT count(*) FROM audit_trail
         WHERE position > (SELECT max(position) FROM audit_trail) - %s) AS recent
  FROM keyledger_ledger AS ledger
"""
_EVENTS = """
SELECT notification_id, originator_id, originator_version, topic, state, code_key_id, code FROM keyledger_events
 WHERE notification_id = ANY (%s::bigint[])
"""
_CREDENTIALS_AHEAD = """
SELECT count(*) AS n FROM (SELECT stream_id, version FROM current_credentials LIMIT %s) AS looked_at
 WHERE NOT EXISTS (SELECT FROM keyledger_events
                    WHERE originator_id = looked_at.stream_id AND originator_version = looked_at.version)
"""


@dataclass(frozen=True, slots=True)
class Known:
    """A known state of the ledger. where: the place that knows it, such as DATA_DIR."""

    where: str
    anchor: Anchor


@dataclass(frozen=True, slots=True)
class Seen:
    """The state of the ledger, and how it contradicts what is known; None if it does not."""

    now: Anchor
    contradiction: Contradiction | None


def look(pool: ConnectionPool[BoundedConnection], known: Sequence[Known]) -> Seen:
    """Return the present state of the ledger, and how it contradicts what is known. Raises StoreUnavailableError."""
    with unavailable(), pool.connection() as connection:
        return look_through(connection, known)


def look_through(connection: Connection, known: Sequence[Known]) -> Seen:
    """Do as `look` does, through one connection."""
    rows = connection.execute(_STATE, [ENTRIES_LOOKED_AT]).fetchall()
    if len(rows) != 1:  # the id is created with the tables and cannot be removed, but by a superuser
        return _without_id(known)
    state = rows[0]
    digests = _digests(connection, {state["head"], *(one.anchor.position for one in known)})
    roots = _roots(connection, {_present_size(state), *(one.anchor.tree_size for one in known)}, state)
    now = Anchor(
        state["ledger_id"],
        state["head"],
        digests.get(state["head"]),
        _present_size(state),
        roots.get(_present_size(state), b""),
    )
    # In this order: a projection whose position was moved explains a root that is not the recorded one.
    checks = (
        *(_compare_log(one, state, digests) for one in known),
        _misplaced(state),
        *(_compare_tree(one, state, roots) for one in known),
    )
    return Seen(now, next((found for found in checks if found is not None), None))


def credentials_ahead(pool: ConnectionPool[BoundedConnection]) -> Contradiction | None:
    """Return whether credentials are at a version that the log does not have. Raises StoreUnavailableError.

    Looks at the first `CREDENTIALS_LOOKED_AT` rows. A call with such a credential fails in any case.
    """
    with unavailable(), pool.connection() as connection:
        row = connection.execute(_CREDENTIALS_AHEAD, [CREDENTIALS_LOOKED_AT]).fetchone()
        head = connection.execute("SELECT coalesce(max(notification_id), 0) AS head FROM keyledger_events").fetchone()
    if not row or not head or not row["n"]:
        return None
    return Contradiction(Kind.CREDENTIALS_AHEAD, row["n"], head["head"], projection="current_credentials")


def _compare_log(known: Known, state: Row, digests: dict[int, str]) -> Contradiction | None:
    anchor, head = known.anchor, state["head"]
    if anchor.ledger_id != state["ledger_id"]:
        return Contradiction(
            Kind.OTHER_LEDGER, anchor.position, head, known.where, anchor.ledger_id, f"the ledger {state['ledger_id']}"
        )
    if head < max(anchor.position, anchor.tree_size):
        return Contradiction(Kind.SHORTER, max(anchor.position, anchor.tree_size), head, known.where)
    if digests.get(anchor.position) != anchor.event:
        return Contradiction(Kind.REWRITTEN, anchor.position, head, known.where)
    return None


def _compare_tree(known: Known, state: Row, roots: dict[int, bytes]) -> Contradiction | None:
    anchor, head = known.anchor, state["head"]
    if state["tree_size"] < anchor.tree_size:
        return Contradiction(Kind.UNPROVEN, anchor.tree_size, head, known.where, projection=transparency_log.TABLE)
    if roots.get(anchor.tree_size) != anchor.tree_root:
        return Contradiction(Kind.REWRITTEN, anchor.tree_size, head, known.where)
    return None


def _misplaced(state: Row) -> Contradiction | None:
    """Return whether a projection is ahead of the log, its position is not that of its last row, or rows are missing.

    The position and the rows are written in one transaction.
    """
    for projection, position, last in (
        (transparency_log.TABLE, state["tree_size"], state["leaves"]),
        (audit_trail.TABLE, state["trail"], state["entries"]),
    ):
        if max(position, last) > state["head"]:
            return Contradiction(Kind.PROJECTION_AHEAD, max(position, last), state["head"], projection=projection)
        if position != last:
            return Contradiction(Kind.POSITION_MOVED, position, last, projection=projection)
    missing = min(state["entries"], ENTRIES_LOOKED_AT) - state["recent"]
    if missing:
        return Contradiction(Kind.ENTRIES_MISSING, missing, state["head"], projection=audit_trail.TABLE)
    return None


def _present_size(state: Row) -> int:
    """Return how many events of this log the tree covers: none while it is ahead of the log."""
    size: int = state["tree_size"]
    return size if size <= state["head"] else 0


def _without_id(known: Sequence[Known]) -> Seen:
    for one in known:
        contradiction = Contradiction(
            Kind.OTHER_LEDGER, one.anchor.position, 0, one.where, one.anchor.ledger_id, "no single ledger id"
        )
        return Seen(one.anchor, contradiction)
    raise StoreUnavailableError


def _digests(connection: Connection, positions: set[int]) -> dict[int, str]:
    with connection.cursor(row_factory=tuple_row, binary=True) as cursor:
        rows = [LogRow._make(row) for row in cursor.execute(_EVENTS, [sorted(positions)]).fetchall()]
    return {row.position: row_digest(row) for row in rows}


def _roots(connection: Connection, sizes: set[int], state: Row) -> dict[int, bytes]:
    """Return the roots of the tree at those sizes that it has; none where it is damaged."""
    found = {0: EMPTY_ROOT}
    for size in sizes:
        if 0 < size <= _present_size(state):
            try:
                found[size] = transparency_log.root_at(connection, size)
            except CredentialIntegrityError:
                found[size] = b""
    return found
