"""An append is acknowledged only if the log then holds what was sent, whatever the function in the database returns."""

import pytest

from domain.errors import CredentialIntegrityError, VersionConflictError
from keyledger.store_attestation.watch import StoreWatch
from tests.support.checker import check
from tests.support.pooler import pooled
from tests.support.scenario import TENANT, was_set
from tests.support.store import Store, open_store

_LYING = """
CREATE OR REPLACE FUNCTION keyledger_append(
    streams uuid[], versions bigint[], topics text[], states bytea[], code_key_id text, codes bytea[],
    earliest text, node_time timestamptz, view_rows jsonb
) RETURNS SETOF bigint LANGUAGE plpgsql AS $f$
BEGIN
    {before}
    {insert}
    RETURN QUERY SELECT n::bigint FROM generate_series(1, cardinality(streams)) AS n;
END $f$
"""
_INSERT = """
INSERT INTO {table} (originator_id, originator_version, topic, state, notification_id)
SELECT s, v, t, {state}, {position} FROM unnest(streams, versions, topics, states) WITH ORDINALITY AS e (s, v, t, x, n);
"""
LIES = {
    "nothing is inserted": ("", "public.keyledger_events", "", ""),
    "other bytes": ("", "public.keyledger_events", "overlay(x placing '\\x20' from 1)", "n"),
    "another position": ("", "public.keyledger_events", "x", "n + 100"),
    "a temporary log": (
        "CREATE TEMP TABLE keyledger_events (LIKE public.keyledger_events) ON COMMIT DROP;",
        "pg_temp.keyledger_events",
        "x",
        "n",
    ),
    "a log in another schema": (
        (
            "CREATE SCHEMA aside; CREATE TABLE aside.keyledger_events (LIKE public.keyledger_events);"
            " PERFORM set_config('search_path', 'aside, public', true);"
        ),
        "aside.keyledger_events",
        "x",
        "n",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_append_that_is_not_kept_is_not_acknowledged_and_ends_readiness(store: Store, lie: str) -> None:
    before, table, state, position = LIES[lie]
    insert = _INSERT.format(table=table, state=state, position=position) if state else ""
    watch = StoreWatch(store.pool, store.log.unkept)
    with store.superuser() as database:
        database.execute(_LYING.format(before=before, insert=insert).encode())
    assert watch.check().ok
    with pytest.raises(CredentialIntegrityError, match="append-not-kept"):
        store.log.append([was_set(1)])
    assert not watch.check().ok
    assert "not kept" in watch.check().text


def test_an_append_is_one_transaction_with_its_reading(store: Store) -> None:
    """A conflict after others leaves the connection as it was: each statement is prepared, or is not."""
    for version in range(1, 5):
        store.log.append([was_set(version)])
        for _ in range(3):
            with pytest.raises(VersionConflictError):
                store.log.append([was_set(version + 1), was_set(version)])
    check(store)


@pytest.mark.pooler
def test_an_append_is_read_back_through_a_pooler(database_url: str) -> None:
    with pooled(database_url, "pool_mode = transaction", "default_pool_size = 2") as pooler:
        with open_store(pooler.url) as store:
            for number in range(4):
                store.set(TENANT, "openai", f"sk-live-{number:010}")
            with pytest.raises(VersionConflictError):
                store.log.append([was_set(1)])
            store.log.append([was_set(version) for version in range(5, 1005)])
            assert store.log.unkept() == ""
        with open_store(database_url) as store:
            check(store)
