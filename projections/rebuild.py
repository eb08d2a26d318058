"""Replay: compute a view again from the log beside the live one, compare the two, and put the new one in its place.

Promises: reads and writes go on meanwhile and never see a half-built view; no token is opened, so it works without any
encryption key; the comparison is exact, made in one snapshot. A crash at any point leaves the live view as it was; the
next rebuild removes what is left of an unfinished copy.
Refuses: two rebuilds at once, an event it does not understand.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import sql

from domain.event import Event
from domain.event_codec import decode
from projections import audit_trail, current_credentials
from projections.catch_up import Appended, lock, read_all, set_position
from projections.postgres import Connection, Row, connect, unavailable

BATCH = 5_000
SHOWN_DIFFERENCES = 20

Progress = Callable[[int, int], None]
"""Told how many events of how many were replayed."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One row in which the live view and the replayed one differ. `what` is missing, unexpected or changed."""

    what: str
    tenant_id: str
    provider: str


@dataclass(frozen=True, slots=True)
class RebuildResult:
    """What a replay found. `differences` are counted in full and listed up to `SHOWN_DIFFERENCES`."""

    projection: str
    rows: int
    difference_count: int
    differences: tuple[Difference, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class _View:
    key: tuple[str, ...]
    fill: Callable[[Connection, str, int, Progress], None]
    extend: Callable[[Connection, Sequence[Appended], str], None]
    follows: bool


def rebuild(dsn: str, projection: str, progress: Progress = lambda done, total: None) -> RebuildResult:
    """Replay a view, compare it with the live one and put it in its place, also when they differ.

    Raises ValueError for an unknown projection, StoreUnavailable, CredentialIntegrityError.
    """
    return _replay(dsn, projection, progress, swap=True)


def compare(dsn: str, projection: str, progress: Progress = lambda done, total: None) -> RebuildResult:
    """Replay a view beside the live one, compare them and throw the copy away. Raises as `rebuild` does."""
    return _replay(dsn, projection, progress, swap=False)


def _replay(dsn: str, projection: str, progress: Progress, *, swap: bool) -> RebuildResult:
    if projection not in VIEWS:
        raise ValueError(f"unknown projection; known: {', '.join(VIEWS)}")
    started = time.monotonic()
    view, shadow = VIEWS[projection], f"{projection}_shadow"
    with connect(dsn) as connection, unavailable(), _alone(connection, shadow):
        connection.execute(_sql("CREATE TABLE {shadow} (LIKE {live} INCLUDING ALL)", projection))
        with _snapshot(connection):
            position = _head(connection)
            view.fill(connection, shadow, position, progress)
        with _only_follower(connection, projection), _snapshot(connection):
            if view.follows:
                _follow_live(connection, projection)
            position = _extend(connection, view, shadow, position)
            count, differences = _differences(connection, projection, view)
        rows = connection.execute(_sql("SELECT count(*) AS n FROM {shadow}", projection)).fetchone()
        if swap:
            _swap(connection, view, projection, position)
    shown = tuple(differences)
    return RebuildResult(projection, rows["n"] if rows else 0, count, shown, time.monotonic() - started)


def _fill_current(connection: Connection, shadow: str, head: int, progress: Progress) -> None:
    """Write one row for each stream, from its last event: events carry the whole state."""
    query = (
        "SELECT DISTINCT ON (originator_id) originator_id, originator_version, topic, state, notification_id"
        " FROM keyledger_events WHERE notification_id <= %s ORDER BY originator_id, originator_version DESC"
    )
    total = _count(connection, "SELECT count(DISTINCT originator_id) AS n FROM keyledger_events")
    done = 0
    with connection.cursor(name="last_events") as cursor:
        cursor.execute(query, [head])
        while rows := cursor.fetchmany(BATCH):
            _copy_current(connection, [_event(row) for row in rows], shadow)
            done += len(rows)
            progress(done, total)


def _extend_current(connection: Connection, batch: Sequence[Appended], shadow: str) -> None:
    last = current_credentials.last_of_each(appended.event for appended in batch)
    connection.execute(
        sql.SQL(
            "DELETE FROM {} USING unnest(%s::uuid[], %s::text[]) AS w (t, p) WHERE tenant_id = w.t AND provider = w.p"
        ).format(sql.Identifier(shadow)),
        [[event.tenant_id for event in last], [event.provider for event in last]],
    )
    _copy_current(connection, last, shadow)


def _copy_current(connection: Connection, events: Sequence[Event], shadow: str) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, current_credentials.COLUMNS))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(shadow), columns)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for event in current_credentials.last_of_each(events):
            row = current_credentials.project(event)
            copy.write_row([row[column] for column in current_credentials.COLUMNS])


def _fill_audit(connection: Connection, shadow: str, head: int, progress: Progress) -> None:
    for batch in read_all(connection, 0, BATCH):
        audit_trail.write(connection, batch, shadow)
        progress(batch[-1].position, head)


VIEWS: Mapping[str, _View] = {
    "current_credentials": _View(("tenant_id", "provider"), _fill_current, _extend_current, follows=False),
    "audit_trail": _View(("position",), _fill_audit, audit_trail.write, follows=True),
}
"""What can be replayed, by the name of the view and its table."""


def _extend(connection: Connection, view: _View, shadow: str, position: int) -> int:
    for batch in read_all(connection, position, BATCH):
        view.extend(connection, batch, shadow)
        position = batch[-1].position
    return position


def _follow_live(connection: Connection, projection: str) -> None:
    """Bring a live view that follows the log to the head of this snapshot, so that being late is no difference."""
    lock(connection, projection)
    row = connection.execute("SELECT position FROM projection_positions WHERE projection = %s", [projection]).fetchone()
    reached = _extend(connection, VIEWS[projection], projection, row["position"] if row else 0)
    set_position(connection, projection, reached)


def _differences(connection: Connection, projection: str, view: _View) -> tuple[int, list[Difference]]:
    joined = (
        "FROM {live} AS l FULL JOIN {shadow} AS s USING (" + ", ".join(view.key) + ") WHERE l.* IS DISTINCT FROM s.*"
    )
    count = _count(connection, _sql("SELECT count(*) AS n " + joined, projection))
    query = (
        "SELECT coalesce(l.tenant_id, s.tenant_id) AS tenant_id, coalesce(l.provider, s.provider) AS provider,"
        " CASE WHEN l.tenant_id IS NULL THEN 'missing' WHEN s.tenant_id IS NULL THEN 'unexpected' ELSE 'changed' END"
        " AS what " + joined + " ORDER BY 1, 2 LIMIT " + str(SHOWN_DIFFERENCES)
    )
    rows = connection.execute(_sql(query, projection)).fetchall()
    return count, [Difference(row["what"], str(row["tenant_id"]), row["provider"]) for row in rows]


def _swap(connection: Connection, view: _View, projection: str, position: int) -> None:
    """Rename under the writer lock: writers wait for the length of the last catch-up and two renames."""
    with connection.transaction():
        connection.execute("SELECT keyledger_lock_log()")
        if view.follows:
            lock(connection, projection)
        reached = _extend(connection, view, f"{projection}_shadow", position)
        _copy_grants(connection, projection)
        connection.execute(_sql("DROP TABLE {live}", projection))
        connection.execute(_sql("ALTER TABLE {shadow} RENAME TO {live}", projection))
        _rename_indexes(connection, projection)
        if view.follows:
            set_position(connection, projection, reached)


def _copy_grants(connection: Connection, projection: str) -> None:
    """Give the copy the rights that others have on the live view. PUBLIC is grantee 0."""
    grants = connection.execute(
        "SELECT CASE WHEN grantee = 0 THEN NULL ELSE pg_get_userbyid(grantee) END AS grantee, privilege_type,"
        " is_grantable FROM pg_class, aclexplode(relacl) WHERE oid = %s::regclass AND grantee <> relowner",
        [projection],
    ).fetchall()
    for grant in grants:
        connection.execute(
            sql.SQL("GRANT {} ON {} TO {}{}").format(
                sql.SQL(grant["privilege_type"]),
                sql.Identifier(f"{projection}_shadow"),
                sql.Identifier(grant["grantee"]) if grant["grantee"] else sql.SQL("PUBLIC"),
                sql.SQL(" WITH GRANT OPTION" if grant["is_grantable"] else ""),
            )
        )


def _rename_indexes(connection: Connection, projection: str) -> None:
    prefix = f"{projection}_shadow"
    rows = connection.execute(
        "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = %s", [projection]
    ).fetchall()
    for name in (row["indexname"] for row in rows if row["indexname"].startswith(prefix)):
        kept = sql.Identifier(projection + name.removeprefix(prefix))
        connection.execute(sql.SQL("ALTER INDEX {} RENAME TO {}").format(sql.Identifier(name), kept))


@contextmanager
def _alone(connection: Connection, shadow: str) -> Iterator[None]:
    row = connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0)) AS got", [shadow]).fetchone()
    if not row or not row["got"]:
        raise ValueError("a rebuild of this projection is running already")
    drop = sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(shadow))
    connection.execute(drop)
    try:
        yield
    finally:
        if not connection.closed:  # a lost connection leaves both to the server and to the next rebuild
            connection.execute(drop)
            connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [shadow])


@contextmanager
def _only_follower(connection: Connection, projection: str) -> Iterator[None]:
    """Keep other followers of the live view away. Taken before the snapshot, which must see their last work."""
    connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [projection])
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [projection])


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield


def _head(connection: Connection) -> int:
    return _count(connection, "SELECT coalesce(max(notification_id), 0) AS n FROM keyledger_events")


def _count(connection: Connection, query: str | sql.Composed) -> int:
    row = connection.execute(query.encode() if isinstance(query, str) else query).fetchone()
    return row["n"] if row else 0


def _event(row: Row) -> Event:
    return decode(row["originator_id"], row["originator_version"], row["topic"], bytes(row["state"]))


def _sql(text: str, projection: str) -> sql.Composed:
    live, shadow = sql.Identifier(projection), sql.Identifier(f"{projection}_shadow")
    return sql.SQL(text).format(live=live, shadow=shadow)  # parts come from this module
