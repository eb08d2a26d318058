"""The schema is one file for each thing it holds, and every earlier version of it is brought to the present one."""

import json
import re
import subprocess
from hashlib import sha256
from importlib.resources import files

import pytest

from domain.audit.entries import facts_of
from projections.current_credentials import project
from projections.database.connections import connect
from projections.database.migration import SCHEMA, SCHEMA_VERSION, migrate, statements_of, version_of
from tests.support.checker import check
from tests.support.places import GOLDEN
from tests.support.postgres import programs
from tests.support.scenario import TENANT, was_deleted, was_set
from tests.support.store import open_store

RECORDED = {
    ("tables/schema_version.sql", 1): "a0860d3b4512e93563e8824c741942a53c9188407a3992fa238cdb40b6dff0ff",
    ("functions/refuse_change.sql", 1): "4c139672f80b3d28a25bc20dbeb2f52b41c68eac05679b88025ac5918182f2b8",
    ("functions/lock_log.sql", 1): "ba7d508bb08cbe927199363645e8eed87242ec42cee8041b82840433f092c8ff",
    ("functions/append.sql", 1): "937958fbef1e9fdac89fb9378f193b6f81885e3a497f78c8c1ca4bd214ef4819",
    ("tables/log.sql", 1): "464d690a07c8064ef197a1cfc6b1d0acd43864f72711b385c74c9963cd0c4cee",
    ("tables/current_credentials.sql", 3): "9a96c25e9d5a031fe16de841d206e67fa2b7533bf6a0488ac6447a9e3981d01b",
    ("tables/audit_trail.sql", 3): "4c85ff72b6c41c658398f3c6cee4d4df4081da483f90f76f90ce4b9efaefbfe2",
    ("tables/transparency_log.sql", 2): "4f0293e403226b1134cb7c91ee1ca650b84b5fca7c0db79092aeee9cd2c9cb1e",
    ("tables/projection_positions.sql", 1): "ee656d63149a5451f2ad98a9bcc56f39e84558c7b262d392de5143c74f704a66",
    ("tables/credential_usage.sql", 2): "d31638ab665c272380cf765d861a07542d39fd9c5291c006697591730beeba4f",
    ("tables/operations.sql", 3): "d37c690bb9a34165794a08040b5c7ea7cffc8c3e999829858784c165df3582eb",
}
"""SHA-256 of each file at its version, without comments. A file that changes needs the next version in `SCHEMA`:
databases made before would not get the change otherwise."""

EARLIER_STEPS = [(GOLDEN / "schema" / f"version_{n}.sql").read_bytes() for n in (1, 2, 3)]
"""The steps by which earlier programs made versions 1, 2 and 3."""


@pytest.mark.parametrize("name", SCHEMA)
def test_a_file_of_the_schema_changes_only_with_its_version(name: str) -> None:
    statements = re.sub(r"\s*--.*", "", statements_of(name))
    assert sha256(statements.encode()).hexdigest() == RECORDED[name, SCHEMA[name]]


def test_every_file_of_tables_and_functions_is_part_of_the_schema() -> None:
    here = files("projections.database")
    found = {f"{folder}/{one.name}" for folder in ("tables", "functions") for one in here.joinpath(folder).iterdir()}
    assert found == set(SCHEMA)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_database_of_an_earlier_version_gets_the_schema_of_a_new_one(
    database_url: str, empty_database_url: str, version: int
) -> None:
    _make_earlier(empty_database_url, version)
    migrate(empty_database_url)
    assert _dumped_schema(empty_database_url) == _dumped_schema(database_url)


def test_an_empty_database_is_brought_to_the_present_schema_once(empty_database_url: str) -> None:
    for _ in range(2):
        migrate(empty_database_url)
    with connect(empty_database_url) as connection:
        assert version_of(connection) == SCHEMA_VERSION
        steps = connection.execute("SELECT version FROM keyledger_schema ORDER BY 1").fetchall()
    assert [row["version"] for row in steps] == list(range(1, SCHEMA_VERSION + 1))


def test_a_database_that_a_newer_program_migrated_is_left_as_it_is(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute("INSERT INTO keyledger_schema (version) VALUES (%s)", [SCHEMA_VERSION + 1])
        migrate(database_url)
        assert version_of(connection) == SCHEMA_VERSION + 1


def test_a_file_may_run_again_on_what_it_made(database_url: str) -> None:
    with open_store(database_url) as store:
        store.set(TENANT, "openai", "sk-live-0123456789")
        with connect(database_url) as connection:
            for name in SCHEMA:
                connection.execute(statements_of(name).encode())
        check(store)


_FIRST_TRAIL = """
INSERT INTO audit_trail (position, stream_id, version, recorded_at, action, tenant_id, provider, actor, request_id,
                         command_id, masked_key, key_id, details)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, '{}')
"""


def test_a_database_of_the_first_version_keeps_its_history_and_grows(empty_database_url: str) -> None:
    """Events of version 1 and the audit trail over them, as the program of that version wrote them."""
    history = [
        (was_set(1), "credential_set_v1", "set"),
        (was_deleted(2), "credential_deleted_v1", "deleted"),
    ]
    _make_earlier(empty_database_url, 1)
    with connect(empty_database_url) as connection:
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


def _make_earlier(url: str, version: int) -> None:
    with connect(url) as connection:
        for number, step in enumerate(EARLIER_STEPS[:version], start=1):
            connection.execute(step)
            connection.execute("INSERT INTO keyledger_schema (version) VALUES (%s)", [number])


def _dumped_schema(url: str) -> str:
    command = [str(programs() / "pg_dump"), "--schema-only", f"--dbname={url}"]
    dumped = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout
    return re.sub(r"^\\(un)?restrict .*\n", "", dumped, flags=re.MULTILINE)  # a random word in each dump
