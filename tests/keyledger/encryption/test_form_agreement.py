"""A new form of events is written once every running node reads it, and then for good."""

from typing import Any
from unittest.mock import Mock

import psycopg
import pytest

from keyledger.encryption.form_agreement import agree_on_form
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.node_release import own_release
from keyledger.encryption.nodes import Presence
from keyledger.log.event_forms import EventForms
from projections.database.event_forms import newest_form
from tests.support.rings import BOTH, OLD
from tests.support.store import Store


def recorded(store: Store) -> tuple[int, str]:
    with store.pool.connection() as connection:
        return newest_form(connection)


def agreed(store: Store, reads: int) -> int:
    """The form that a program writes after it has agreed."""
    forms = EventForms(store.pool, reads)
    agree_on_form(Presence(store.pool), OLD, forms)
    assert EventForms(store.pool, reads).written == forms.written, "a command finds the same"
    return forms.written


@pytest.fixture
def of_release(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes nodes name another release than this program's."""

    def register(store: Store, release: str, keyring: Keyring | None) -> Presence:
        presence = Presence(store.pool)
        with monkeypatch.context() as patch:
            patch.setattr("keyledger.encryption.nodes.own_release", lambda: release)
            presence.beat(keyring)
        return presence

    return register


def test_a_node_that_is_alone_writes_the_newest_form_that_it_reads(store: Store) -> None:
    assert recorded(store) == (1, "")
    assert agreed(store, reads=3) == 3
    assert recorded(store) == (3, own_release(3))


@pytest.mark.parametrize("keyring", [OLD, None], ids=["with the same keys", "without keys"])
def test_a_running_node_of_an_earlier_release_is_waited_for(
    store: Store, of_release: Any, keyring: Keyring | None
) -> None:
    before, between = of_release(store, "0.1.0", keyring), of_release(store, "0.2.0+form.2", BOTH)
    assert agreed(store, reads=3) == 1
    assert recorded(store) == (1, "")
    before.leave()
    assert agreed(store, reads=3) == 2
    between.leave()
    assert agreed(store, reads=3) == 3


def test_a_forged_row_delays_nothing(store: Store, of_release: Any) -> None:
    of_release(store, "0.1.0", OLD)
    with store.superuser() as database:
        database.execute("UPDATE nodes SET name = 'another'")
    assert agreed(store, reads=2) == 2


def test_a_form_that_is_recorded_is_written_whoever_else_runs(store: Store, of_release: Any) -> None:
    assert agreed(store, reads=2) == 2
    of_release(store, "0.1.0", OLD)
    assert agreed(store, reads=2) == 2
    assert agreed(store, reads=3) == 2


def test_a_log_in_its_first_form_costs_no_statement() -> None:
    pool = Mock(spec=[])
    forms = EventForms(pool, reads=1)
    agree_on_form(Presence(pool), OLD, forms)
    assert forms.written == 1


def test_a_recorded_form_is_never_taken_back(store: Store) -> None:
    agreed(store, reads=2)
    with store.superuser() as database:
        for statement in ("DELETE FROM event_forms", "UPDATE event_forms SET form = 1", "TRUNCATE event_forms"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                database.execute(statement.encode())
