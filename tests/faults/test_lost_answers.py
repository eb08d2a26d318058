"""Every statement of a command, broken before its effect and after it, then a restart and a whole check."""

import pytest

from domain.errors import StoreUnavailableError
from tests.support.checker import check
from tests.support.faulty_link import Fault, FaultyLink, faulty_link
from tests.support.scenario import TENANT
from tests.support.store import Store, open_store

KEY = "sk-live-0123456789xyz9"
STATEMENTS = [
    pytest.param("originator_version", id="reading the stream"),
    pytest.param("keyledger_append", id="appending"),
]
LOST = [pytest.param(fault, id=fault.value) for fault in (Fault.REQUEST_LOST, Fault.ANSWER_LOST)]
SILENT = [pytest.param(fault, id=fault.value) for fault in (Fault.SILENCE_BEFORE, Fault.SILENCE_AFTER)]


def events(store: Store) -> int:
    return len(store.audit(limit=1000))


@pytest.mark.parametrize("fault", LOST)
def test_an_append_whose_connection_breaks_happens_once_and_is_answered(database_url: str, fault: Fault) -> None:
    with faulty_link(database_url) as link, open_store(link.url) as store:
        link.break_next("keyledger_append", fault)
        assert store.set(TENANT, "openai", KEY).version == 1
        assert link.faults_met == 1
    restart_and_check(database_url, 1)


@pytest.mark.parametrize("fault", [*LOST, *SILENT])
@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_command_that_is_repeated_after_any_fault_happens_once(
    database_url: str, statement: str, fault: Fault
) -> None:
    with faulty_link(database_url) as link, open_store(link.url) as store:
        link.break_next(statement, fault)
        _try(store, link)
        assert link.faults_met == 1
        assert store.set(TENANT, "openai", KEY, command_id="mine").version == 1
    restart_and_check(database_url, 1)


def test_a_delete_whose_answer_is_lost_is_obeyed(database_url: str) -> None:
    with faulty_link(database_url) as link, open_store(database_url) as setup:
        setup.set(TENANT, "openai", KEY)
        with open_store(link.url) as store:
            link.break_next("keyledger_append", Fault.ANSWER_LOST)
            assert store.delete(TENANT, "openai").sealed is None
            assert store.view.read(TENANT, "openai").current() is None
    restart_and_check(database_url, 2)


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("statement", ["COPY", "projection_positions (projection", "COMMIT"])
def test_a_trail_whose_connection_breaks_shows_every_event_once_afterwards(
    database_url: str, statement: str, fault: Fault
) -> None:
    with faulty_link(database_url) as link, open_store(link.url) as store:
        for number in range(5):
            store.set(TENANT, "openai", f"{KEY}{number}")
        link.break_next(statement, fault)
        with pytest.raises(StoreUnavailableError):
            store.audit()
        assert link.faults_met == 1
    restart_and_check(database_url, 5)


def restart_and_check(database_url: str, expected: int) -> None:
    with open_store(database_url) as store:
        check(store)
        assert events(store) == expected


def _try(store: Store, link: FaultyLink) -> None:
    """Send the command once; it may fail, but only as an outage."""
    try:
        store.set(TENANT, "openai", KEY, command_id="mine")
    except StoreUnavailableError:
        assert link.faults_met == 1
