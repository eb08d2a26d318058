"""Connections of the pool, direct and through a real pooler: the same time limits, and nothing left in a session."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql

from domain.errors import ErrorCode
from projections.database.connections import DEADLINE, BoundedConnection, connect
from projections.database.pools import open_pool
from projections.replay.replaying import PROJECTIONS, replay_projection
from projections.replay.shadow_table import is_replayed, new_shadow
from tests.support.each import each
from tests.support.errors import raises
from tests.support.pooler import pooled
from tests.support.store import Store

LIMIT = f"{DEADLINE * 1000:.0f}ms"
_LIMIT_NOW = "SELECT current_setting('statement_timeout') AS value"


@contextmanager
def connection_of(address: str) -> Iterator[BoundedConnection]:
    with closing(open_pool(address)) as pool, pool.connection() as connection:
        yield connection


def test_the_server_keeps_the_time_of_single_statements_and_of_transactions(address: str) -> None:
    with connection_of(address) as connection:
        for _ in range(3):
            assert connection.execute(_LIMIT_NOW).fetchone() == {"value": LIMIT}
        with connection.transaction():
            assert connection.execute(_LIMIT_NOW).fetchone() == {"value": LIMIT}


def test_a_statement_that_fails_and_one_whose_commit_fails_are_told_and_the_connection_goes_on(address: str) -> None:
    with connection_of(address) as connection:
        connection.execute("CREATE TABLE one (id int PRIMARY KEY)")
        connection.execute("CREATE TABLE two (id int REFERENCES one DEFERRABLE INITIALLY DEFERRED)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1 / %s", [0])
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute("INSERT INTO two VALUES (%s)", [1])
        assert connection.execute("SELECT count(*) AS n FROM two").fetchone() == {"n": 0}


@pytest.mark.pooler
def test_a_pooler_gets_back_its_session_as_it_was(database_url: str) -> None:
    with pooled(database_url, "pool_mode = transaction", "default_pool_size = 1") as pooler:
        with connection_of(pooler.url) as connection:
            assert connection.pooled
            for _ in range(10):
                connection.execute("SELECT %s::int AS n", [1])
            with connection.transaction():
                connection.execute("SELECT 1")
        with psycopg.connect(pooler.url, autocommit=True, prepare_threshold=None) as next_client:
            assert next_client.execute("SHOW statement_timeout").fetchone() == ("0",)
            assert next_client.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
            held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            assert next_client.execute(held).fetchone() == (0,)


def test_a_direct_session_keeps_what_is_run_again_and_again(database_url: str) -> None:
    with connection_of(database_url) as connection:
        assert not connection.pooled
        for _ in range(3):
            connection.execute("SELECT %s::int AS n", [1])
        kept = connection.execute("SELECT count(*) AS n FROM pg_prepared_statements WHERE statement LIKE '%::int AS n'")
        assert kept.fetchone() == {"n": 1}


@pytest.mark.pooler
def test_a_replay_works_through_a_pooler_and_a_second_one_is_refused(store: Store) -> None:
    store.set("11111111-1111-4111-8111-111111111111", "openai", "sk-live-0123456789")
    store.follow()
    with pooled(store.url, "pool_mode = transaction", "default_pool_size = 4") as pooler:
        for view in PROJECTIONS:
            assert replay_projection(pooler.url, view).swapped
        with connect(pooler.url) as connection:
            with new_shadow(pooler.url, connection, "audit_trail"):
                assert is_replayed(connection, "audit_trail")
                with raises(ErrorCode.REPLAY_CONFLICT, match="already running"):
                    replay_projection(pooler.url, "audit_trail")
            assert not is_replayed(connection, "audit_trail")


@each("setting", ["DateStyle = 'SQL, DMY'", "client_encoding = 'SQL_ASCII'", "client_encoding = 'LATIN1'"])
def test_values_are_read_whatever_notation_the_database_has_by_default(
    database_url: str, address: str, setting: str
) -> None:
    """A role may set such a default for itself, so this must not turn a service off."""
    wanted = sql.SQL("ALTER DATABASE {} SET {}")
    with connect(database_url) as owner:
        name = sql.Identifier(owner.info.dbname)
        owner.execute(wanted.format(name, sql.SQL(setting)))
        try:
            owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid()"
            )
            query = "SELECT '2026-11-29 08:00:00+00'::timestamptz AS time, 'Zo\u0142a' AS text"
            with connection_of(address) as short, closing(connect(address)) as long:
                for connection in (short, long):
                    row = connection.execute(query).fetchone()
                    assert row == {"time": datetime(2026, 11, 29, 8, tzinfo=UTC), "text": "Zo\u0142a"}
        finally:
            owner.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(name))
