"""The schema grows by steps, and a step that was released never changes."""

from hashlib import sha256
from importlib.resources import files

from projections.migration import STEPS, is_current, migrate
from projections.postgres import connect
from tests.support.checker import check
from tests.support.scenario import TENANT
from tests.support.store import open_store

RELEASED: dict[str, str] = {}
"""SHA-256 of every step that was released, by file. A change of the schema is a new step, never an edit of these."""


def test_a_released_step_is_as_it_was() -> None:
    for name, digest in RELEASED.items():
        assert sha256(files("projections").joinpath(name).read_bytes()).hexdigest() == digest
    assert set(RELEASED) <= set(STEPS)


def test_an_empty_database_is_brought_to_the_present_schema_once(empty_database_url: str) -> None:
    for _ in range(2):
        migrate(empty_database_url)
    with connect(empty_database_url) as connection:
        assert is_current(connection)
        steps = connection.execute("SELECT version FROM keyledger_schema ORDER BY 1").fetchall()
    assert [row["version"] for row in steps] == list(range(1, len(STEPS) + 1))


def test_a_database_that_a_newer_program_migrated_is_served_as_it_is(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute("INSERT INTO keyledger_schema (version) VALUES (%s)", [len(STEPS) + 1])
        migrate(database_url)
        assert is_current(connection)
    with open_store(database_url) as store:
        store.set(TENANT, "openai", "sk-live-0123456789")
        check(store)


def test_a_step_may_run_again_on_what_it_made(database_url: str) -> None:
    with open_store(database_url) as store:
        store.set(TENANT, "openai", "sk-live-0123456789")
        with connect(database_url) as connection:
            for name in STEPS:
                connection.execute(files("projections").joinpath(name).read_bytes())
        check(store)
