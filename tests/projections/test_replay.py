"""A view can always be computed again, and what somebody changed in it is found."""

import threading

import pytest

from domain.errors import CredentialIntegrityError
from domain.resolution import Stored
from keyledger.keyring import Keyring
from projections.rebuild import VIEWS, compare, rebuild
from tests.support.checker import check
from tests.support.scenario import OTHER_TENANT, TENANT
from tests.support.store import OTHER_ENCRYPTION_KEY, Store, open_store

KEY = "sk-live-0123456789xyz9"


def fill(store: Store) -> None:
    for tenant in (TENANT, OTHER_TENANT):
        for provider in ("openai", "mistral", "anthropic"):
            store.set(tenant, provider, f"{KEY}-{provider}")
        store.set(tenant, "openai", f"{KEY}-2")
        store.delete(tenant, "mistral")


def rows(store: Store, view: str) -> list[dict[str, object]]:
    with store.superuser() as database:
        return database.execute(f"SELECT * FROM {view} ORDER BY 1, 2").fetchall()


@pytest.mark.parametrize("view", VIEWS)
def test_a_dropped_view_comes_back_as_it_was(store: Store, view: str) -> None:
    fill(store)
    store.audit()
    before = rows(store, view)
    with store.superuser() as database:
        database.execute(f"TRUNCATE {view}")
    lost = rebuild(store.url, view)
    assert lost.difference_count == len(before) == lost.rows
    assert rows(store, view) == before
    check(store)


@pytest.mark.parametrize("view", VIEWS)
def test_a_replay_of_an_untouched_view_finds_no_difference(store: Store, view: str) -> None:
    fill(store)
    assert rebuild(store.url, view).difference_count == 0
    check(store)


def test_a_replay_needs_no_encryption_key(database_url: str) -> None:
    with open_store(database_url) as store:
        fill(store)
    with open_store(database_url, Keyring(OTHER_ENCRYPTION_KEY)) as store:
        for view in VIEWS:
            assert rebuild(store.url, view).difference_count == 0


CHANGES = [
    pytest.param(
        "current_credentials", "UPDATE current_credentials SET endpoint = 'https://evil'", "changed", id="an endpoint"
    ),
    pytest.param("current_credentials", "DELETE FROM current_credentials", "missing", id="a row taken away"),
    pytest.param(
        "current_credentials",
        "INSERT INTO current_credentials (tenant_id, provider, version, stream_id)"
        " VALUES (gen_random_uuid(), 'openai', 1, gen_random_uuid())",
        "unexpected",
        id="a row put in",
    ),
    pytest.param("audit_trail", "UPDATE audit_trail SET actor = 'nobody'", "changed", id="who did it"),
    pytest.param("audit_trail", "DELETE FROM audit_trail WHERE position = 2", "missing", id="an entry taken away"),
]


@pytest.mark.parametrize(("view", "change", "what"), CHANGES)
def test_what_somebody_changed_in_a_view_is_listed_and_mended(store: Store, view: str, change: str, what: str) -> None:
    fill(store)
    store.audit()
    with store.superuser() as database:
        database.execute(change)
    found = compare(store.url, view)
    assert {difference.what for difference in found.differences} == {what}
    assert compare(store.url, view).difference_count == found.difference_count, "a comparison changes nothing"
    assert rebuild(store.url, view).difference_count == found.difference_count
    check(store)


def test_the_service_goes_on_while_a_view_is_replayed(store: Store) -> None:
    fill(store)
    done = threading.Event()
    seen: list[Stored] = []

    def work() -> None:
        number = 0
        while not done.is_set() or number < 20:
            number += 1
            store.set(TENANT, "vllm", f"{KEY}-{number}")
            seen.append(store.view.read(TENANT, "vllm"))

    worker = threading.Thread(target=work)
    worker.start()
    for view in (*VIEWS, *VIEWS):
        rebuild(store.url, view)
    done.set()
    worker.join()
    for stored in seen:
        assert stored.current() is not None
    check(store)


def test_two_replays_of_one_view_do_not_run_at_once(store: Store) -> None:
    with store.superuser() as database:
        database.execute("SELECT pg_advisory_lock(hashtextextended('audit_trail_shadow', 0))")
        with pytest.raises(ValueError, match="running already"):
            rebuild(store.url, "audit_trail")


def test_what_an_interrupted_replay_left_is_removed_by_the_next(store: Store) -> None:
    fill(store)
    with store.superuser() as database:
        database.execute("CREATE TABLE current_credentials_shadow (half text)")
    assert rebuild(store.url, "current_credentials").difference_count == 0
    with store.superuser() as database:
        left = database.execute("SELECT to_regclass('current_credentials_shadow') AS shadow").fetchone()
    assert left == {"shadow": None}


@pytest.mark.parametrize("view", VIEWS)
def test_an_event_that_is_not_understood_stops_a_replay_and_leaves_the_live_view(store: Store, view: str) -> None:
    fill(store)
    store.audit()
    before = rows(store, view)
    with store.superuser() as database:
        database.execute(
            "INSERT INTO keyledger_events SELECT gen_random_uuid(), 1, 'CredentialRenamed', '{}',"
            " max(notification_id) + 1 FROM keyledger_events"
        )
    with pytest.raises(CredentialIntegrityError, match="event-topic-unknown"):
        rebuild(store.url, view)
    assert rows(store, view) == before


def test_an_unknown_view_is_refused_with_the_known_ones(store: Store) -> None:
    with pytest.raises(ValueError, match="current_credentials, audit_trail"):
        rebuild(store.url, "nothing")


@pytest.mark.parametrize("view", VIEWS)
def test_a_replayed_view_keeps_its_indexes_and_the_rights_of_others(store: Store, view: str) -> None:
    shape = (
        "SELECT indexdef FROM pg_indexes WHERE tablename = %s ORDER BY 1",
        "SELECT grantee, privilege_type FROM information_schema.role_table_grants WHERE table_name = %s ORDER BY 1, 2",
    )
    with store.superuser() as database:
        role = f"reader_{view}"
        database.execute(f"DROP ROLE IF EXISTS {role}")
        database.execute(f"CREATE ROLE {role}")
        database.execute(f"GRANT SELECT ON {view} TO {role} WITH GRANT OPTION; GRANT SELECT ON {view} TO PUBLIC")
        before = [database.execute(query, [view]).fetchall() for query in shape]
        for _ in range(2):
            rebuild(store.url, view)
        assert [database.execute(query, [view]).fetchall() for query in shape] == before
        database.execute(f"DROP OWNED BY {role}")
        database.execute(f"DROP ROLE {role}")
