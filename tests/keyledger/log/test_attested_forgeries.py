"""An attestation covers what was checked before it and nothing else, whatever else is written into the log."""

import threading
from collections.abc import Iterator

import pytest

from domain.errors import CredentialIntegrityError, UnreadableCredentialError
from domain.events.event import utc_now
from keyledger.log.event_codes.attestation import Attesting, accept, attest_first, forged_positions, read_codes
from tests.keyledger.log.test_codes_in_the_log import (
    BOTH,
    FIRST,
    META,
    SECOND,
    TENANT,
    forge_deletion,
    resolved,
    strip_code_of,
    verify,
)
from tests.support.store import Store, open_store


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    with open_store(database_url) as opened:
        opened.set(TENANT, "openai", "sk-live-0123456789")
        opened.follow()
        yield opened


def attesting(store: Store) -> Attesting:
    return Attesting(store.pool, store.log, utc_now, lost_keys=False)


def require_doubted(store: Store, position: int) -> None:
    """Require that no call uses another key for a forged deletion, and that a verification names it."""
    with pytest.raises((CredentialIntegrityError, UnreadableCredentialError)):
        resolved(store, FIRST)
    found = verify(store, FIRST).error
    assert found is not None
    assert (found.part, found.position) == ("codes", position)


def test_accepting_one_forged_event_accepts_no_other(store: Store) -> None:
    forge_deletion(store, 2)
    with store.superuser() as database:
        database.execute(
            "INSERT INTO keyledger_events SELECT originator_id, 3, topic, state, 3, NULL, NULL"
            " FROM keyledger_events WHERE notification_id = 2"
        )
    forged = forged_positions(store.pool, store.log.codes, 9)
    assert forged == [3]
    accept(store.pool, store.log, forged, META, utc_now)
    assert forged_positions(store.pool, read_codes(store.pool, FIRST.code_keys), 9) == []
    require_doubted(store, 2)


def test_what_is_appended_after_the_check_is_not_attested(store: Store) -> None:
    """A role that may move a projection can hold up the attestation between its check and its size."""
    with store.superuser() as holding, store.superuser() as watching:
        with holding.transaction():
            store.set(TENANT, "azure", "sk-live-0123456789")
            holding.execute("SELECT FROM projection_positions WHERE projection = 'transparency_log' FOR UPDATE")
            attest = threading.Thread(target=attesting(store), args=[META])
            attest.start()
            while not watching.execute("SELECT FROM pg_locks WHERE NOT granted").rowcount:
                assert attest.is_alive()
            forge_deletion(store, 2)
        attest.join()
    assert store.log.codes.attested == 2
    require_doubted(store, 3)


def test_an_old_attestation_that_was_changed_attests_nothing_more(store: Store) -> None:
    attesting(store)(META)
    attesting(store)(META)
    with store.superuser() as database:
        database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER ALL")
        database.execute(
            "UPDATE keyledger_events SET code = %s, code_key_id = 'k0000000000',"
            " state = replace(convert_from(state, 'UTF8'), '\"attested_to\":1', '\"attested_to\":1000')::bytea"
            " WHERE topic = 'LogAttested' AND originator_version = 1",
            [bytes(32)],
        )
    assert read_codes(store.pool, FIRST.code_keys).attested == 2
    forge_deletion(store, 2)
    with pytest.raises(UnreadableCredentialError):
        resolved(store, FIRST)


def test_the_newest_attestation_repeats_the_older_ones_whose_key_is_gone(store: Store) -> None:
    forge_deletion(store, 2)
    strip_code_of(store, 2)
    accept(store.pool, store.log, [2], META, utc_now)
    store.log.codes = read_codes(store.pool, BOTH.code_keys)
    attesting(store)(META)
    codes = read_codes(store.pool, SECOND.code_keys)
    assert (codes.attested, codes.accepted) == (3, frozenset({2}))


@pytest.mark.parametrize("stripped", [[1, 2], [2]], ids=["with all before it", "alone"])
def test_the_first_attestation_covers_no_forged_event_without_a_code(store: Store, stripped: list[int]) -> None:
    forge_deletion(store, 2)
    for position in stripped:
        strip_code_of(store, position)
    try:
        attest_first(store.pool, store.log, META, utc_now)
    except CredentialIntegrityError as error:
        assert error.reason == "transparency-log-of-other-events"
    assert read_codes(store.pool, FIRST.code_keys).attested == 0
    with pytest.raises(CredentialIntegrityError, match="event-code-missing at position 2"):
        resolved(store, FIRST)
