"""An event that is removed or changed in the log alone is found while the service runs, at whatever position it is."""

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

from domain.errors import CredentialIntegrityError
from domain.events.event import utc_now
from keyledger.log.event_codes.attestation import Attesting, read_codes
from keyledger.log.event_codes.code_watch import CodeWatch
from keyledger.log.event_codes.whole_log import WholeLog
from projections.database.connections import Connection
from tests.keyledger.log.test_codes_in_the_log import FIRST, META
from tests.support.store import Store, open_store

EVENTS = 5


@pytest.fixture
def store(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr("keyledger.log.event_codes.whole_log.PAGE", 2)
    with open_store(database_url) as opened:
        for number in range(EVENTS):
            opened.set(str(UUID(int=number + 1, version=4)), "openai", "sk-live-0123456789")
        Attesting(opened.pool, opened.log, utc_now, lost_keys=False)(META)
        opened.follow()
        yield opened


def whole_pass(whole: WholeLog, store: Store) -> str:
    codes = read_codes(store.pool, FIRST.code_keys)
    for _ in range(EVENTS):
        whole.step(codes)
    return whole.error


def taken_out(database: Connection) -> None:
    database.execute("DELETE FROM keyledger_events WHERE notification_id = 3")


def last_taken_out(database: Connection) -> None:
    database.execute("DELETE FROM keyledger_events WHERE notification_id = 6")


def changed(database: Connection) -> None:
    """Under a key that may have been retired before the attestation."""
    database.execute(
        "UPDATE keyledger_events SET code_key_id = 'k0000000000',"
        ' state = replace(convert_from(state, \'UTF8\'), \'"actor":"anna"\', \'"actor":"mallory"\')::bytea'
        " WHERE notification_id = 3"
    )


def changed_with_its_leaf(database: Connection) -> None:
    database.execute("UPDATE transparency_log SET hashes = overlay(hashes PLACING '\\x00' FROM 65) WHERE level = 0")


TAMPERED = {
    taken_out: "event-missing at position 3",
    last_taken_out: "event-missing at position 6",
    changed: "event-not-as-recorded at position 3",
    changed_with_its_leaf: "event-not-as-recorded at position 3",
}


@pytest.mark.parametrize(("tamper", "said"), TAMPERED.items())
def test_what_is_not_as_it_was_recorded_is_found_by_a_pass(
    store: Store, tamper: Callable[[Connection], None], said: str
) -> None:
    whole = WholeLog(store.pool)
    assert whole_pass(whole, store) == ""
    with store.superuser() as database:
        database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER ALL")
        tamper(database)
    assert whole_pass(whole, store) == said
    assert whole_pass(whole, store) == said


def test_a_tree_that_is_computed_again_is_not_reported(store: Store) -> None:
    whole, codes = WholeLog(store.pool), store.log.codes
    whole.step(codes)
    with store.superuser() as database:
        database.execute("TRUNCATE transparency_log")
        database.execute("UPDATE projection_positions SET position = 0")
    whole.step(codes)
    store.tree_follower.run()
    assert whole_pass(whole, store) == ""


def test_a_finding_keeps_the_node_from_vouching_for_the_log(store: Store) -> None:
    watch = CodeWatch(store.pool, lambda: store.log.codes, lambda: 0)
    watch.require()
    with store.superuser() as database:
        database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER ALL")
        taken_out(database)
    for _ in range(EVENTS):
        watch.follow_and_compare()
    assert not watch.check().ok
    assert "event-missing at position 3" in watch.check().text
    with pytest.raises(CredentialIntegrityError, match="event-missing at position 3"):
        watch.require()
