"""The log on a real PostgreSQL."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from uuid import UUID

import psycopg
import pytest

from domain.credentials import command_batch
from domain.credentials.credential import CredentialEvent, stream_id
from domain.errors import CredentialIntegrityError, StoreUnavailableError, VersionConflictError
from projections.database.migration import FIRST_VERSION, SCHEMA_VERSION, migrate
from tests.support.checker import check
from tests.support.people import impersonal
from tests.support.scenario import OTHER_TENANT, TENANT, was_deleted, was_set
from tests.support.store import Store, open_store

KEY = "sk-live-0123456789xyz9"


def test_an_append_writes_the_event_and_its_view_row(store: Store) -> None:
    store.log.append([was_set(1)])
    with store.superuser() as database:
        row = database.execute("SELECT * FROM current_credentials").fetchone()
    assert row is not None
    assert (str(row["tenant_id"]), row["provider"], row["version"], row["masked_key"]) == (
        TENANT,
        "openai",
        1,
        "...xyz9",
    )
    last = store.log.last(stream_id(TENANT, "openai"))
    assert last is not None
    assert impersonal(last) == impersonal(was_set(1))


def test_a_taken_version_is_a_conflict_and_leaves_nothing(store: Store) -> None:
    store.log.append([was_set(1)])
    with pytest.raises(VersionConflictError):
        store.log.append([was_set(1, "sk-another-key-0002")])
    check(store)


def test_a_batch_is_stored_whole_or_not_at_all(store: Store) -> None:
    store.log.append([was_set(1)])
    with pytest.raises(VersionConflictError):
        store.log.append([was_set(2), was_set(1)])
    with store.superuser() as database:
        assert database.execute("SELECT count(*) AS n FROM keyledger_events").fetchone() == {"n": 1}


def test_refused_appends_leave_no_gap_in_the_positions(store: Store) -> None:
    store.log.append([was_set(1)])
    for _ in range(3):
        with pytest.raises(VersionConflictError):
            store.log.append([was_set(1)])
    store.log.append([was_set(2)])
    with store.superuser() as database:
        positions = database.execute("SELECT notification_id AS p FROM keyledger_events ORDER BY 1").fetchall()
    assert [row["p"] for row in positions] == [1, 2]


def test_a_batch_of_many_events_goes_through(store: Store) -> None:
    store.log.append([was_set(version) for version in range(1, 2001)])
    check(store)


def test_events_come_back_by_command(store: Store) -> None:
    store.set(TENANT, "openai", KEY, command_id="mine")
    store.delete(TENANT, "openai")
    mine, nobodys = (stream_id(TENANT, "openai"), "mine"), (stream_id(TENANT, "openai"), "nobody's")
    found = store.log.find_all([mine, nobodys])
    assert {wanted: event.originator_version for wanted, event in found.items()} == {mine: 1}


UPSERT = """
INSERT INTO keyledger_events TABLE keyledger_events
    ON CONFLICT (originator_id, originator_version) DO UPDATE SET state = 'x'
"""
CHANGES = [
    "UPDATE keyledger_events SET state = 'x'",
    "UPDATE keyledger_events SET topic = topic WHERE false",
    "DELETE FROM keyledger_events",
    "TRUNCATE keyledger_events",
    UPSERT,
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("role", ["origin", "replica"])
def test_the_database_refuses_to_change_the_log(store: Store, change: str, role: str) -> None:
    store.log.append([was_set(1)])
    with store.superuser() as database:
        database.execute(f"SET session_replication_role = {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            database.execute(change)
    check(store)


def test_writers_at_once_get_every_position_and_version_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_batch, "ATTEMPTS", 50)  # that one gives up at last is another matter
    tenants = [str(UUID(int=number, version=4)) for number in range(1, 5)]
    nodes = [store.as_another_node() for _ in range(8)]  # one node carries out what comes at once in one go

    def write(number: int) -> None:
        nodes[number % 8].set(tenants[number % 4], "openai", f"sk-live-{number:08}")

    with ThreadPoolExecutor(8) as writers:
        list(writers.map(write, range(80)))
    check(store)
    assert len(store.audit(limit=1000)) == 80


def test_a_writer_waits_for_the_lock_no_longer_than_the_deadline(store: Store) -> None:
    with store.superuser() as database, database.transaction():
        database.execute("SELECT keyledger_lock_log()")
        with pytest.raises(StoreUnavailableError):
            store.log.append([was_set(1)])
        _wait_until_given_up(store)
    store.log.append([was_set(1)])
    check(store)


def _wait_until_given_up(store: Store) -> None:
    """Wait until the server, too, has given up what the client did: both count the seconds, and either may be first.

    A writer of which only the client has let go still gets the lock when it is free. Its session ends after that; one
    that the server stopped goes back to the pool.
    """
    with store.superuser() as database:
        while True:
            sessions = database.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'keyledger' AND datname = current_database()"
            )
            pooled = {connection.info.backend_pid for connection in list(store.pool._pool)}
            if pooled and pooled == {row["pid"] for row in sessions}:
                return


def test_a_connection_that_dies_after_the_commit_is_no_second_event(store: Store) -> None:
    """The database is asked to end the connection as soon as the append is committed: the answer is lost."""
    append = store.log.events.put

    def put_and_lose_the_answer(events: list[CredentialEvent], **kwargs: object) -> object:
        append(events, **kwargs)
        store.log.events.put = append  # type: ignore[method-assign]
        from eventsourcing.persistence import OperationalError

        raise OperationalError("connection lost")

    store.log.events.put = put_and_lose_the_answer  # type: ignore[method-assign,assignment]
    assert store.set(TENANT, "openai", KEY).version == 1
    check(store)


def test_a_server_that_is_gone_is_an_outage_and_not_a_wait(database_url: str) -> None:
    with open_store(database_url) as store:
        store.pool.wait()  # a connection that is still starting would not be ended below
        with store.superuser() as database:
            database.execute("UPDATE pg_database SET datallowconn = false WHERE datname = current_database()")
            database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        for work in (
            lambda: store.set(TENANT, "openai", KEY),
            lambda: store.service.of_tenant(TENANT),
            lambda: store.audit(),
        ):
            _is_outage(work)


def _is_outage(work: Callable[[], object]) -> None:
    with pytest.raises(StoreUnavailableError) as outage:
        work()
    assert outage.value.__cause__ is None
    assert outage.value.__suppress_context__


def test_an_event_the_program_does_not_know_is_never_imported(store: Store) -> None:
    with store.superuser() as database:
        database.execute(
            "INSERT INTO keyledger_events VALUES (%s, 1, 'os:system', '{}', 1)", [stream_id(TENANT, "openai")]
        )
    with pytest.raises(CredentialIntegrityError, match="event-code-missing at position 1"):
        store.log.last(stream_id(TENANT, "openai"))
    with pytest.raises(CredentialIntegrityError, match="event-topic-unknown"):
        store.audit()


def test_the_environment_chooses_nothing(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "PERSISTENCE_MODULE",
        "KEYLEDGER_PERSISTENCE_MODULE",
        "CIPHER_TOPIC",
        "COMPRESSOR_TOPIC",
        "MAPPER_TOPIC",
    ):
        monkeypatch.setenv(name, "os:system")
    monkeypatch.setenv("POSTGRES_ENABLE_DB_FUNCTIONS", "y")
    monkeypatch.setenv("CREATE_TABLE", "y")
    with open_store(database_url) as store:
        store.set(TENANT, "openai", KEY)
        check(store)
    assert "os:system" in os.environ.values()


def test_many_starts_at_once_migrate_once(empty_database_url: str) -> None:
    started = threading.Barrier(6)

    def start(_: int) -> None:
        started.wait()
        migrate(empty_database_url)

    with ThreadPoolExecutor(6) as starts:
        list(starts.map(start, range(6)))
    with open_store(empty_database_url) as store:
        store.set(TENANT, "openai", KEY)
        check(store)
        with store.superuser() as database:
            assert database.execute("SELECT count(*) AS n FROM keyledger_schema").fetchone() == {
                "n": SCHEMA_VERSION - FIRST_VERSION + 1
            }


def test_a_database_administrator_can_read_the_view(store: Store) -> None:
    store.set(TENANT, "openai", KEY)
    store.set(OTHER_TENANT, "openai", KEY)
    store.delete(OTHER_TENANT, "openai")
    with store.superuser() as database:
        rows = database.execute(
            "SELECT tenant_id::text AS tenant, version, token LIKE 'enc:fernet:v1:%%' AS sealed, set_at"
            " FROM current_credentials ORDER BY tenant_id"
        ).fetchall()
    assert [(row["tenant"], row["version"], row["sealed"]) for row in rows] == [
        (TENANT, 1, True),
        (OTHER_TENANT, 2, None),
    ]
    assert isinstance(rows[0]["set_at"], datetime)


def test_a_deleted_credential_keeps_its_row(store: Store) -> None:
    store.log.append([was_set(1), was_deleted(2)])
    check(store)
