"""The shadow table that holds the copy of a projection during a replay, and its swap with the live table.

Promises: one copy of a projection at a time across all nodes; the next replay removes the remains of an interrupted
one. The lock belongs to a transaction on its own connection, so it holds through a pooler and is released when its
holder dies. The swap is one transaction: readers see either the old table or the new one, with the same indexes, rights
and comment. It waits at most `LOCK_WAIT_MS` for other transactions, since writers queue behind it, then lets them pass
and tries again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress

import psycopg
from psycopg import sql

from domain.operations.replay import replay_conflict, replay_running
from projections.database import row_locks
from projections.database.connections import Connection, Row, connect, unavailable, was_interrupted

LOCK_WAIT_MS = 300
SWAP_TRIES = 20
_PAUSE_S = 0.25
_BUILT_AT_ONCE = 2

_INDEXES = """
SELECT c.relname AS name, i.indisprimary, i.indisunique, pg_get_indexdef(i.indexrelid) AS definition
  FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
 WHERE i.indrelid = %s::regclass ORDER BY i.indisprimary DESC, c.relname
"""
_LOOKS = """
SELECT pg_get_userbyid(relowner) AS owner, relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user) AS own,
       array_to_string(reloptions, ', ') AS options, obj_description(oid, 'pg_class') AS comment
  FROM pg_class WHERE oid = %s::regclass
"""
_GRANTS = """
SELECT CASE WHEN grantee = 0 THEN NULL ELSE pg_get_userbyid(grantee) END AS grantee, privilege_type, is_grantable
  FROM pg_class, aclexplode(relacl) WHERE oid = %s::regclass AND grantee <> relowner
"""


def shadow_of(projection: str) -> str:
    """Return the name of the shadow table of a projection."""
    return f"{projection}_shadow"


@contextmanager
def new_shadow(dsn: str, connection: Connection, projection: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield an empty table like the live one, without its indexes, and drop it at the end unless it was swapped in.

    Also yields a function that raises if the lock was lost meanwhile, since the copy may then be another replay's.
    Raises ConflictError if the projection is already being replayed, or the role may not create the table.
    """
    if not _may_replace(connection, projection):
        raise replay_conflict(
            f"Only the database role that owns {projection} may replay it. Run keyledger replay as that role.",
        )
    with connect(dsn) as holder, unavailable():
        row_locks.add(holder, shadow_of(projection))  # before the transaction: the next replay must not wait for it
        with holder.transaction():
            holder.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # it is idle while the copy is filled
            if not row_locks.try_to_hold(holder, shadow_of(projection)):
                raise replay_running(projection)
            with _empty_shadow(connection, projection) as shadow:
                yield shadow, lambda: holder.execute("SELECT")


@contextmanager
def _empty_shadow(connection: Connection, projection: str) -> Iterator[str]:
    shadow = shadow_of(projection)
    drop = sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(shadow))
    try:
        connection.execute(drop)
        connection.execute(
            sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL EXCLUDING INDEXES)").format(
                sql.Identifier(shadow), sql.Identifier(projection)
            )
        )
        yield shadow
    finally:
        if not connection.closed:  # after a lost connection, the next replay drops it
            connection.execute(drop)


def is_replayed(connection: Connection, projection: str) -> bool:
    """Say whether any process is replaying the projection now."""
    return row_locks.is_held(connection, shadow_of(projection))


def add_key(connection: Connection, projection: str) -> None:
    """Give the filled copy the primary key of the live table. One sort costs a third of adding it row by row."""
    shadow = sql.Identifier(shadow_of(projection))
    for index in connection.execute(_INDEXES, [projection]).fetchall():
        if index["indisprimary"]:
            name = sql.Identifier(_shadow_name(projection, index))
            connection.execute(_creation(projection, index))
            connection.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY USING INDEX {}").format(shadow, name))
    connection.execute(sql.SQL("ANALYZE {}").format(shadow))


@contextmanager
def other_indexes(dsn: str, connection: Connection, projection: str) -> Iterator[Callable[[], None]]:
    """Build the other indexes of the live table on the copy, while the caller keeps reading both.

    Yields a function that waits for them and raises their errors. Leaving the context without calling it cancels the
    builds, so that the copy can be dropped at once.
    """
    indexes = connection.execute(_INDEXES, [projection]).fetchall()
    others = [_creation(projection, index) for index in indexes if not index["indisprimary"]]
    at_work: set[Connection] = set()

    def build(creation: sql.Composed) -> None:
        with connect(dsn) as own, unavailable():
            at_work.add(own)
            try:
                own.execute(creation)
            finally:
                at_work.discard(own)

    with ThreadPoolExecutor(_BUILT_AT_ONCE, "indexes") as pool:
        building = [pool.submit(build, creation) for creation in others]
        try:
            yield lambda: _require_all(building)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(one.done() for one in building):
                for own in at_work.copy():
                    with suppress(psycopg.Error):  # it is done, or gone
                        own.cancel_safe()
                wait(building, _PAUSE_S)  # then try again: a build that had not started was not cancelled


def _require_all(building: Sequence[Future[None]]) -> None:
    for one in building:
        one.result()


def _creation(projection: str, index: Row) -> sql.Composed:
    return sql.SQL("CREATE {} INDEX {} ON {} USING {}").format(
        sql.SQL("UNIQUE" if index["indisunique"] else ""),
        sql.Identifier(_shadow_name(projection, index)),
        sql.Identifier(shadow_of(projection)),
        sql.SQL(index["definition"].partition(" USING ")[2]),
    )


def swap(connection: Connection, projection: str, complete: Callable[[], None]) -> None:
    """Swap the copy in. `complete` is called first, in the same transaction: it may take locks and add missing rows.

    Raises ConflictError if another transaction keeps using the live table.
    """
    for _ in range(SWAP_TRIES):
        try:
            with connection.transaction():
                connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_WAIT_MS)))
                complete()
                _exchange(connection, projection)
        except psycopg.errors.LockNotAvailable as timeout:
            if was_interrupted(timeout):
                raise KeyboardInterrupt from None
            time.sleep(_PAUSE_S)  # a dump, for example, reads the table until it is done
        else:
            return
    raise replay_conflict(
        f"{projection} is in use by a long transaction, such as a dump. Replay it again when that has ended.",
    )


def _exchange(connection: Connection, projection: str) -> None:
    live, shadow = sql.Identifier(projection), sql.Identifier(shadow_of(projection))
    connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(live))
    _copy_looks(connection, projection)
    _copy_grants(connection, projection)
    names = {_shadow_name(projection, row): row["name"] for row in connection.execute(_INDEXES, [projection])}
    connection.execute(sql.SQL("DROP TABLE {}").format(live))
    connection.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(shadow, live))
    for built, kept in names.items():
        connection.execute(sql.SQL("ALTER INDEX {} RENAME TO {}").format(sql.Identifier(built), sql.Identifier(kept)))


def _copy_looks(connection: Connection, projection: str) -> None:
    """Give the copy the owner, the storage options and the comment of the live table."""
    shadow = sql.Identifier(shadow_of(projection))
    looks = connection.execute(_LOOKS, [projection]).fetchone() or {}
    if looks["options"]:
        connection.execute(sql.SQL("ALTER TABLE {} SET ({})").format(shadow, sql.SQL(looks["options"])))
    if looks["comment"] is not None:
        connection.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(shadow, sql.Literal(looks["comment"])))
    if not looks["own"]:  # an administrator replays it, and the service must still be able to write
        connection.execute(sql.SQL("ALTER TABLE {} OWNER TO {}").format(shadow, sql.Identifier(looks["owner"])))


def _copy_grants(connection: Connection, projection: str) -> None:
    """Give the copy the rights that other roles have on the live table. PUBLIC is grantee 0."""
    for grant in connection.execute(_GRANTS, [projection]).fetchall():
        connection.execute(
            sql.SQL("GRANT {} ON {} TO {}{}").format(
                sql.SQL(grant["privilege_type"]),
                sql.Identifier(shadow_of(projection)),
                sql.Identifier(grant["grantee"]) if grant["grantee"] else sql.SQL("PUBLIC"),
                sql.SQL(" WITH GRANT OPTION" if grant["is_grantable"] else ""),
            )
        )


def _shadow_name(projection: str, index: Row) -> str:
    name: str = index["name"]
    return shadow_of(projection) + name.removeprefix(projection)


def _may_replace(connection: Connection, projection: str) -> bool:
    row = connection.execute(
        "SELECT pg_has_role(relowner, 'USAGE') AND has_schema_privilege(relnamespace, 'CREATE') AS may FROM pg_class"
        " WHERE oid = %s::regclass",
        [projection],
    ).fetchone()
    return bool(row and row["may"])
