"""A role without any right on a table delays no one, whatever it locks."""

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from domain.errors import StoreUnavailableError
from keyledger.encryption.nodes import Presence
from projections.database import row_locks
from projections.database.connections import connect
from projections.database.migration import apply_again
from projections.replay.replaying import PROJECTIONS, Swap, replay_projection
from projections.replay.shadow_table import shadow_of
from tests.support.checker import check
from tests.support.scenario import OTHER_TENANT, TENANT
from tests.support.store import Store

_NAMES = ("audit_trail", "transparency_log", "current_credentials", "keyledger nodes", "log", "nodes")
ADVISORY = [
    "SELECT pg_advisory_lock('keyledger_events'::regclass::oid::bigint)",
    "SELECT pg_advisory_lock(7738725041170573157)",
    *(
        f"SELECT pg_advisory_lock(hashtextextended('{name}', 0))"
        for name in (*_NAMES, *(f"{name}_shadow" for name in _NAMES))
    ),
]
REFUSED = [
    "SELECT FROM keyledger_locks FOR UPDATE",
    "SELECT FROM projection_positions FOR SHARE",
    "SELECT keyledger_lock_log()",
    "LOCK TABLE keyledger_events IN ACCESS SHARE MODE",
    "LOCK TABLE keyledger_locks IN ACCESS SHARE MODE",
    "LOCK TABLE keyledger_schema IN ACCESS SHARE MODE",
    "COMMENT ON TABLE keyledger_locks IS 'mine'",
]


@pytest.fixture
def stranger(store: Store) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A session of a role that may connect and nothing else, in a transaction that stays open."""
    role = sql.Identifier(f"stranger_{secrets.token_hex(4)}")
    with psycopg.connect(store.url, autocommit=True) as database:
        database.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        try:
            with psycopg.connect(make_conninfo(store.url, user=role._obj[0])) as session:
                yield session
        finally:
            database.execute(sql.SQL("DROP ROLE {}").format(role))


def test_a_role_without_rights_delays_no_write_no_read_no_migration_and_no_replay(
    store: Store, stranger: psycopg.Connection[tuple[object, ...]]
) -> None:
    for statement in ADVISORY:
        stranger.execute(statement.encode())
    for statement in REFUSED:
        with pytest.raises(psycopg.errors.InsufficientPrivilege), stranger.transaction():
            stranger.execute(statement.encode())
    store.set(TENANT, "openai", "sk-live-0123456789")
    assert [entry.action for entry in store.audit()] == ["set"]
    store.follow()
    Presence(store.pool).settle(store.keyring, lambda others: store.keyring)
    apply_again(store.url)
    for projection in PROJECTIONS:
        assert replay_projection(store.url, projection, swap=Swap.ALWAYS).swapped
    store.set(OTHER_TENANT, "openai", "sk-live-0123456780")
    check(store)


def test_a_lock_is_held_by_one_transaction_and_ends_with_it(store: Store) -> None:
    with connect(store.url) as one, connect(store.url) as other:
        with one.transaction():
            row_locks.hold(one, row_locks.NODES)
            assert row_locks.is_held(other, row_locks.NODES)
            assert not row_locks.try_to_hold(other, row_locks.NODES)
        assert not row_locks.is_held(other, row_locks.NODES)
        assert row_locks.try_to_hold(other, row_locks.NODES)
        with pytest.raises(StoreUnavailableError, match="keyledger_locks"):
            row_locks.hold(one, "another")
        assert not row_locks.is_held(other, shadow_of("audit_trail")), "no replay has run yet"


def test_locking_leaves_no_dead_row_and_waits_for_no_vacuum(store: Store) -> None:
    with store.superuser() as database:
        for number in range(50):
            store.set(TENANT, "openai", f"sk-live-{number:010}")
            if number % 10 == 0:
                database.execute("VACUUM (FREEZE) keyledger_locks")
        size = database.execute("SELECT pg_relation_size('keyledger_locks') AS size").fetchone()
    assert size == {"size": 8192}
    check(store)
