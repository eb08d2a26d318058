"""The schema grows by steps, and a step that was released never changes."""

import json
from hashlib import sha256
from importlib.resources import files

import pytest

from domain.audit.entries import facts_of
from projections.current_credentials import project
from projections.database.connections import connect
from projections.database.migration import STEPS, NewerSchemaError, migrate, version_of
from tests.support.checker import check
from tests.support.places import GOLDEN
from tests.support.scenario import TENANT, was_deleted, was_set
from tests.support.store import open_store

RELEASED: dict[str, str] = {
    "schema.sql": "0ee467294c750af98c75083eebdc41612ec44d9db849edc5b9a74f0165c2ad86",
}
"""SHA-256 of every step that was released, by file. A change of the schema is a new step, never an edit of these."""


def test_a_released_step_is_as_it_was() -> None:
    for name, digest in RELEASED.items():
        assert sha256(files("projections.database").joinpath(name).read_bytes()).hexdigest() == digest
    assert set(RELEASED) <= set(STEPS)


def test_an_empty_database_is_brought_to_the_present_schema_once(empty_database_url: str) -> None:
    for _ in range(2):
        migrate(empty_database_url)
    with connect(empty_database_url) as connection:
        assert version_of(connection) == len(STEPS)
        steps = connection.execute("SELECT version FROM keyledger_schema ORDER BY 1").fetchall()
    assert [row["version"] for row in steps] == list(range(1, len(STEPS) + 1))


def test_a_database_that_a_newer_program_migrated_is_refused_as_it_is(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute("INSERT INTO keyledger_schema (version) VALUES (%s)", [len(STEPS) + 1])
        with pytest.raises(NewerSchemaError):
            migrate(database_url)
        assert version_of(connection) == len(STEPS) + 1


def test_a_step_may_run_again_on_what_it_made(database_url: str) -> None:
    with open_store(database_url) as store:
        store.set(TENANT, "openai", "sk-live-0123456789")
        with connect(database_url) as connection:
            for name in STEPS:
                connection.execute(files("projections.database").joinpath(name).read_bytes())
        check(store)


_FIRST_TRAIL = """
INSERT INTO audit_trail (position, stream_id, version, recorded_at, action, tenant_id, provider, actor, request_id,
                         command_id, masked_key, key_id, details)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, '{}')
"""


def test_a_database_of_the_first_step_keeps_its_history_and_goes_on(empty_database_url: str) -> None:
    """Events of version 1 and the audit trail over them, as the first step's program wrote them."""
    history = [
        (was_set(1), "credential_set_v1", "set"),
        (was_deleted(2), "credential_deleted_v1", "deleted"),
    ]
    with connect(empty_database_url) as connection:
        connection.execute(files("projections.database").joinpath(STEPS[0]).read_bytes())
        connection.execute("INSERT INTO keyledger_schema (version) VALUES (1)")
        for position, (event, golden, action) in enumerate(history, start=1):
            state = (GOLDEN / "events" / f"{golden}.json").read_bytes().rstrip(b"\n")
            rows = json.dumps([project(event)], default=str)
            place = [[event.originator_id], [event.originator_version], [event.TOPIC], [state], rows]
            connection.execute("SELECT keyledger_append(%s, %s, %s, %s, %s::jsonb)", place)
            facts = facts_of(event)
            known = [event.actor, event.request_id, event.command_id, facts.masked_key, facts.key_id]
            where = [position, event.originator_id, event.originator_version, event.timestamp, action]
            connection.execute(_FIRST_TRAIL, [*where, TENANT, "openai", *known])
        connection.execute("INSERT INTO projection_positions VALUES ('audit_trail', 2)")
    migrate(empty_database_url)
    with open_store(empty_database_url) as store:
        store.set(TENANT, "openai", "sk-live-0123456789")
        entries = store.audit()
        assert [(one.action, one.role, one.fingerprint is None) for one in entries] == [
            ("set", "unknown", True),
            ("deleted", "unknown", True),
            ("set", "unknown", False),
        ]
        check(store)
