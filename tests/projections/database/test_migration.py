"""The schema is one file for each thing it holds, and every earlier version of it is brought to the present one."""

import re
from hashlib import sha256
from importlib.resources import files

import pytest

from projections.database.connection_check import check_connection
from projections.database.connections import Connection, connect
from projections.database.migration import (
    FIRST_VERSION,
    PRESENT,
    SCHEMA,
    SCHEMA_VERSION,
    Edition,
    edition_of,
    migrate,
    statements_of,
)
from tests.support.checker import check
from tests.support.each import each
from tests.support.scenario import TENANT
from tests.support.store import open_store

RECORDED = {
    ("tables/schema_version.sql", Edition(4, 1)): "67e9534f1aa94bc8802f34cb95f59c6136e995011a709d326e21e385f7516913",
    ("functions/refuse_change.sql", Edition(4)): "4c139672f80b3d28a25bc20dbeb2f52b41c68eac05679b88025ac5918182f2b8",
    ("tables/locks.sql", Edition(4)): "439e8a68ad166c37665d255c3e925cd81f5790b57129bd002d8c1fe11e6f6407",
    ("functions/lock_log.sql", Edition(4)): "1cb94859df4be759b3d4747a081ab9fcfa7571715b80bca2562d6d4f807bae3c",
    ("functions/append.sql", Edition(4)): "1c6a7c5d2da777aa69d8d2ba45fbaa667f3c2c176065d0e07b3e9550abc89f8c",
    ("functions/append.sql", Edition(4, 3)): "18f40dc1a9f1fba5558c3c1a053916f15fd525816636831a987ee05512e7957a",
    ("functions/append.sql", Edition(5)): "18f40dc1a9f1fba5558c3c1a053916f15fd525816636831a987ee05512e7957a",
    ("tables/access_keys.sql", Edition(4, 3)): "5eccb868bab0e8fa298e8379f3917c15cd482a0938add2610554b4a9338c2634",
    ("tables/tenants.sql", Edition(4, 3)): "29b47feda1164cc4224c7ec4ae289cf272fa8e06ac1c05a840fe34dfc427e2a7",
    ("tables/log.sql", Edition(4)): "9c49f5d22e6762bc87dbc23ed76e408a900d5fcb81dc6ce6b1905bb567c94eec",
    ("tables/event_forms.sql", Edition(4, 1)): "482bc6c7b9eef67d36c3c347d506e9cc0be2589cea2721e2b2e447b3a104c8d3",
    ("tables/people.sql", Edition(4)): "6e8835f839b1255f02e076870f4d73287a08c18f8e284750b9e98afa36688103",
    ("tables/current_credentials.sql", Edition(4)): "9a96c25e9d5a031fe16de841d206e67fa2b7533bf6a0488ac6447a9e3981d01b",
    ("tables/audit_trail.sql", Edition(4)): "a97b473c440f458aa967fb53a3f5896f2d189755ee5d97c8a3849067f4c9d5c5",
    ("tables/audit_trail.sql", Edition(4, 4)): "7d952d330bea1d04dd80c8f67f4169223bf7756ff10d224b783773d25fbe6e04",
    ("tables/audit_trail.sql", Edition(4, 6)): "5437df4da175478028a9e8e430ec7e6ca08af3c7314184fcef65acb97954578d",
    ("tables/transparency_log.sql", Edition(4)): "4f0293e403226b1134cb7c91ee1ca650b84b5fca7c0db79092aeee9cd2c9cb1e",
    ("tables/projection_positions.sql", Edition(4)): "ee656d63149a5451f2ad98a9bcc56f39e84558c7b262d392de5143c74f704a66",
    ("tables/credential_usage.sql", Edition(4)): "d31638ab665c272380cf765d861a07542d39fd9c5291c006697591730beeba4f",
    ("tables/access_key_usage.sql", Edition(4, 4)): "71fa6cd6c52892024b820518e638c600e9de85e6437e4badc31a2e18d7f3ec36",
    ("tables/token_usage.sql", Edition(4, 5)): "1eeada6a1beeea0e3aa014806698add4fd986ec8addf90ac54395282a110a60d",
    (
        "tables/access_key_budgets.sql",
        Edition(5),
    ): "6e0c4905b59f33e6eab459974e142e47df12507a828bc3b131eb151286bd6825",
    ("tables/operations.sql", Edition(4)): "5ac872bdb91463c5dd09740edf06624bd1c10cc402f7dba74a6734d013747596",
    ("tables/operations.sql", Edition(4, 2)): "6bc7399474cf5981b56fa028e06a17438d47b2e61c697abec1aaa05f33cfcb31",
    (
        "tables/current_credentials.sql",
        Edition(5, 1),
    ): "cb56054154e8f57e3eed49bd43332eedb8a769f0059372e88466b61c3a73f26a",
    ("tables/credential_usage.sql", Edition(5, 1)): "9b7faf675a40a27a23bb604014dc820eabe670ec9c17d2bff5e9c80a2e073d15",
    ("tables/access_key_usage.sql", Edition(5, 1)): "85f393ebaeccdedba419c5fbb092cf5b3ded8715b8dd054eb50f8726df904c03",
    ("tables/token_usage.sql", Edition(5, 1)): "6338e91d9bf9a2398d1060fe6b948662944229a062432e0edaeec7fa238a2fc9",
    (
        "tables/access_key_budgets.sql",
        Edition(5, 1),
    ): "08e60eaa37448fb24c319c41c08c20806d32a8bb7975ef081d2f6e6b79f9a7fb",
    ("tables/operations.sql", Edition(5, 1)): "09a6ef237cecd941862befe4ffca867dbebbe68c5183c9a905f8b9fe6781c737",
}
"""SHA-256 of each file at its edition, without comments. A file that changes needs the next edition in `SCHEMA`:
databases made before would not get the change otherwise."""


@each("name", SCHEMA)
def test_a_file_of_the_schema_changes_only_with_its_edition(name: str) -> None:
    statements = re.sub(r"\s*--.*", "", statements_of(name))
    assert sha256(statements.encode()).hexdigest() == RECORDED[name, SCHEMA[name]]


@each("name", [name for name in SCHEMA if name.startswith("functions/")])
def test_a_function_changes_only_with_a_version(name: str) -> None:
    """An earlier program would say of an addition that someone replaced the function."""
    assert SCHEMA[name].additions == 0


def test_every_file_of_tables_and_functions_is_part_of_the_schema() -> None:
    here = files("projections.database")
    found = {f"{folder}/{one.name}" for folder in ("tables", "functions") for one in here.joinpath(folder).iterdir()}
    assert found == set(SCHEMA)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_database_from_before_the_first_release_is_left_as_it_is(empty_database_url: str, version: int) -> None:
    with connect(empty_database_url) as connection:
        connection.execute(statements_of("tables/schema_version.sql").encode())
        connection.execute("INSERT INTO keyledger_schema (version) VALUES (%s)", [version])
    migrate(empty_database_url)
    with connect(empty_database_url) as connection:
        assert edition_of(connection) == Edition(version)
        assert connection.execute("SELECT to_regclass('keyledger_events') AS made").fetchone() == {"made": None}


def test_an_empty_database_is_brought_to_the_present_schema_once(empty_database_url: str) -> None:
    for _ in range(2):
        migrate(empty_database_url)
    with connect(empty_database_url) as connection:
        assert edition_of(connection) == PRESENT
        steps = connection.execute("SELECT version FROM keyledger_schema ORDER BY 1").fetchall()
    assert [row["version"] for row in steps] == list(range(FIRST_VERSION, SCHEMA_VERSION + 1))


def test_a_database_that_a_newer_program_migrated_is_left_as_it_is(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute("INSERT INTO keyledger_schema (version) VALUES (%s)", [SCHEMA_VERSION + 1])
        migrate(database_url)
        assert edition_of(connection) == Edition(SCHEMA_VERSION + 1)


def _without_additions(connection: Connection) -> None:
    """Make of a database what the first edition was."""
    connection.execute(
        "DROP TABLE event_forms, access_keys, tenants, access_key_usage, token_usage, access_key_budgets"
    )
    connection.execute("ALTER TABLE keyledger_schema DROP COLUMN additions")
    connection.execute("DELETE FROM keyledger_schema WHERE version > %s", [FIRST_VERSION])


def test_a_database_without_the_additions_gets_them(database_url: str) -> None:
    findings = check_connection(database_url).findings
    with connect(database_url) as connection:
        _without_additions(connection)
        assert edition_of(connection) == Edition(FIRST_VERSION)
        assert not check_connection(database_url).has_present_schema
        migrate(database_url)
        assert edition_of(connection) == PRESENT
    assert check_connection(database_url).findings == findings


def test_a_database_with_more_additions_is_used_as_it_is(database_url: str) -> None:
    findings = check_connection(database_url).findings
    with connect(database_url) as connection:
        connection.execute("UPDATE keyledger_schema SET additions = additions + 1")
        connection.execute("ALTER TABLE nodes ADD COLUMN mood text")
        connection.execute("CREATE TABLE moods (mood text)")
        migrate(database_url)
        assert edition_of(connection) == Edition(PRESENT.version, PRESENT.additions + 1)
    report = check_connection(database_url)
    assert report.has_present_schema
    assert report.findings == findings


def test_a_file_may_run_again_on_what_it_made(database_url: str) -> None:
    with open_store(database_url) as store:
        store.set(TENANT, "openai", "sk-live-0123456789")
        with connect(database_url) as connection:
            for name in SCHEMA:
                connection.execute(statements_of(name).encode())
        check(store)
