"""Fixtures that every part of the suite may ask for, and the neutral environment that all of it runs in."""

import os
import random
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import psycopg
import psycopg_pool.base
import pytest

from keyledger.serving.garbage_collection import collect_rarely
from tests.support import memory, trust, warmed
from tests.support.effort import EXAMPLES
from tests.support.neutral import forget, make_neutral
from tests.support.postgres import TemplatedServer, templated_server
from tests.support.shown_bundles import shown_to_others
from tests.support.store import LEDGER_ID, Store, open_store

HOME = pytest.StashKey[Path]()
MEMORY = pytest.StashKey[Path | None]()
_TESTS = Path(__file__).parent
_WAITING = {"e2e", "docs", "benchmarks", "embedded_postgres", "test_serve.py", "test_environments.py"}
# No property fails for being slow: that says how busy a machine is.
_PATIENT = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("everyday", _PATIENT, max_examples=EXAMPLES)
hypothesis.settings.register_profile("thorough", _PATIENT, max_examples=2_000)  # asked for by `make prove`
hypothesis.settings.load_profile("everyday")
# The threads of a pool would draw from the generator that Hypothesis watches while it draws an example.
psycopg_pool.base.random = random.Random().random  # type: ignore[attr-defined]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Before tests are collected, since modules read the environment as they load, and before workers inherit it."""
    collect_rarely()  # as the service does
    session.config.stash[HOME] = make_neutral()
    session.config.stash[MEMORY] = memory.take()


@pytest.hookimpl(wrapper=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """One worker more than there are cores: much of a test's time is spent waiting for processes it has started."""
    return (yield) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start processes and wait for them come first, so that no worker is left with one at the end."""
    items.sort(key=lambda item: _WAITING.isdisjoint(item.path.relative_to(_TESTS).parts))


def pytest_unconfigure(config: pytest.Config) -> None:
    warmed.end()
    if home := config.stash.get(HOME, None):
        forget(home)
    if folder := config.stash.get(MEMORY, None):
        memory.give_back(folder)


@pytest.fixture(scope="session", autouse=True)
def _trust_store_read_once() -> Iterator[None]:
    with trust.read_once():
        yield


@pytest.fixture(scope="session", autouse=True)
def _bundles_shown_to_others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with shown_to_others(tmp_path_factory.mktemp("verifier")):
        yield


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[TemplatedServer]:
    """One server for the whole run, with a migrated template. Only tests that ask for a database pay for it."""
    own = tmp_path_factory.getbasetemp()
    on_disk = own if worker_id == "master" else own.parent
    with templated_server(Path(os.environ.get(memory.FOLDER, on_disk)), _migrate) as server:
        yield server


@pytest.fixture
def database_url(postgres_server: TemplatedServer) -> Iterator[str]:
    """A database of its own for each test, with the present schema and no rows."""
    with postgres_server.fresh_database() as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_server: TemplatedServer) -> Iterator[str]:
    """A database of its own for each test, with nothing in it."""
    with postgres_server.empty_database() as url:
        yield url


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """The log and its views on a database of their own, behind the command service."""
    with open_store(database_url) as opened:
        yield opened


def _migrate(url: str) -> None:
    from projections.database.migration import migrate  # a test that needs no database does not load it

    migrate(url)
    with psycopg.connect(url, autocommit=True) as database:  # copies then have verifier keys that are known before
        database.execute("ALTER TABLE keyledger_ledger DISABLE TRIGGER keyledger_ledger_append_only")
        database.execute("UPDATE keyledger_ledger SET ledger_id = %s", [LEDGER_ID])
        database.execute("ALTER TABLE keyledger_ledger ENABLE ALWAYS TRIGGER keyledger_ledger_append_only")
