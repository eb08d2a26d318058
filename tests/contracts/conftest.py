"""One ledger for each implementation of the ports: for each test an empty one, for each module one with a history."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from domain.credentials.providers import CredentialConfig
from tests.contracts.ledgers import Ledger, in_memory, on_postgresql
from tests.support.postgres import TemplatedServer
from tests.support.scenario import OTHER_TENANT, TENANT

IMPLEMENTATIONS = ["in memory", "PostgreSQL"]


@contextmanager
def new_ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    if request.param == "in memory":
        yield in_memory()
        return
    server: TemplatedServer = request.getfixturevalue("postgres_server")
    folder = request.getfixturevalue("tmp_path_factory").mktemp("checkpoints")
    with server.fresh_database() as url, on_postgresql(url, folder) as ledger:
        yield ledger


@pytest.fixture(params=IMPLEMENTATIONS)
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """An empty ledger."""
    with new_ledger(request) as made:
        yield made


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def history(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """A ledger with one event of each kind that filters tell apart, for tests that only read."""
    with new_ledger(request) as made:
        author = made.author
        author.set(TENANT, "openai", "sk-one-0123456789", reason="Ticket 47_11")  # 1
        author.set(TENANT, "mistral", "sk-two-0123456789", source="cli", client_address="192.0.2.7")  # 2
        author.set(OTHER_TENANT, "openai", "sk-one-0123456789", actor="bruno")  # 3
        author.answer(TENANT, "openai", 1, rejected=True)  # 4
        author.set(TENANT, "openai", "sk-three-0123456789", CredentialConfig("https://llm.example.com"))  # 5
        author.delete(TENANT, "mistral")  # 6
        author.reencrypt(OTHER_TENANT, "openai")  # 7
        author.refuse("forbidden", tenant_id=TENANT)  # 8
        author.read_audit("actor:zoe")  # 9
        yield made
