"""A projection added as `docs/contributing/add-a-projection.md` says works wherever the built-in ones do."""

from collections.abc import MutableMapping, Sequence
from functools import partial

import pytest

from domain.operations.replay import Swap
from projections.catch_up import Appended, CatchUp
from projections.database import migration
from projections.database.connections import Connection, connect
from projections.replay import parallel_fill, replayable
from projections.replay.comparison import Naming
from projections.replay.replaying import replay_projection
from projections.replay.status import projection_statuses
from tests.support.scenario import OTHER_TENANT, TENANT
from tests.support.store import Store, open_store

TABLE = "command_index"
COLUMNS = ("command_id", "position")
TABLE_SQL = """
CREATE TABLE IF NOT EXISTS command_index (
    command_id text   NOT NULL,
    position   bigint NOT NULL,
    PRIMARY KEY (command_id, position)
);
CREATE INDEX IF NOT EXISTS command_index_position_idx ON command_index (position);
"""
FILE, NEXT = "tables/command_index.sql", migration.PRESENT._replace(additions=migration.PRESENT.additions + 1)


def write(
    connection: Connection, batch: Sequence[Appended], table: str = TABLE, last: MutableMapping[int, str] | None = None
) -> None:
    del last  # each row depends on its event alone
    rows = [(one.event.command_id, one.position) for one in batch]
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table} VALUES (%s, %s)".encode(), rows)


ADDED = replayable.Projection(
    TABLE,
    ("command_id", "position"),
    COLUMNS,
    partial(parallel_fill.fill, write),
    write,
    follows=True,
    naming=Naming("NULL::uuid", "NULL::text", "position"),
)


@pytest.fixture
def added(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of the present version, migrated by a program that has one projection more."""
    statements_of = migration.statements_of
    monkeypatch.setattr(migration, "SCHEMA", {**migration.SCHEMA, FILE: NEXT})
    monkeypatch.setattr(migration, "PRESENT", NEXT)
    monkeypatch.setattr(migration, "statements_of", lambda name: TABLE_SQL if name == FILE else statements_of(name))
    monkeypatch.setitem(replayable.PROJECTIONS, TABLE, ADDED)
    migration.migrate(database_url)
    return database_url


def shown(store: Store) -> list[tuple[str, int]]:
    CatchUp(store.pool, TABLE, write).run()
    with store.superuser() as database:
        rows = database.execute("SELECT command_id, position FROM command_index ORDER BY position").fetchall()
    return [(row["command_id"], row["position"]) for row in rows]


def test_it_catches_up_with_the_log_whenever_it_is_read(added: str) -> None:
    with open_store(added) as store:
        store.set(TENANT, "openai", "sk-one-0123456789", command_id="first")
        assert shown(store) == [("first", 1)]
        store.set(OTHER_TENANT, "openai", "sk-two-0123456789", command_id="second")
        assert shown(store) == [("first", 1), ("second", 2)]


def test_it_is_listed_with_its_lag(added: str) -> None:
    with open_store(added) as store:
        store.set(TENANT, "openai", "sk-one-0123456789")
    with connect(added) as connection:
        last = projection_statuses(connection)[-1]
    assert (last.name, last.lag, last.stopped) == (TABLE, 1, None)


def test_a_replay_finds_a_damaged_row_and_puts_it_right(added: str) -> None:
    with open_store(added) as store:
        store.set(TENANT, "openai", "sk-one-0123456789", command_id="first")
        store.set(TENANT, "openai", "sk-two-0123456789", command_id="second")
        right = shown(store)
        with store.superuser() as database:
            database.execute("DELETE FROM command_index WHERE command_id = 'second'")
        found = replay_projection(added, TABLE)
        assert [(one.what, one.position) for one in found.differences] == [("missing", 2)]
        assert replay_projection(added, TABLE, swap=Swap.ALWAYS).swapped
        assert shown(store) == right
        assert replay_projection(added, TABLE).difference_count == 0
