"""A view can always be computed again, and what someone changed in it is found."""

import threading
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from domain.credentials.stored import Stored
from domain.errors import CredentialIntegrityError, ErrorCode, StoreUnavailableError
from domain.operations.replay import Difference, Swap
from keyledger.encryption.keyring import Keyring
from projections.access_keys import ACCESS_KEYS
from projections.database.connections import Row, connect
from projections.replay import shadow_table as shadow
from projections.replay.replaying import PROJECTIONS, compare, replay_projection
from projections.replay.status import projection_statuses
from projections.tenants import TENANTS
from tests.support.checker import check
from tests.support.errors import raises
from tests.support.scenario import OTHER_TENANT, TENANT
from tests.support.store import OTHER_ENCRYPTION_KEY, Store, open_store, replay_elsewhere

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


@pytest.mark.parametrize("view", PROJECTIONS)
def test_a_dropped_view_comes_back_as_it_was(store: Store, view: str) -> None:
    fill(store)
    store.follow()
    before = rows(store, view)
    with store.superuser() as database:
        database.execute(f"TRUNCATE {view}")
    lost = replay_projection(store.url, view, swap=Swap.ALWAYS)
    assert lost.difference_count == len(before) == lost.rows
    assert rows(store, view) == before
    check(store)


@pytest.mark.parametrize("view", PROJECTIONS)
def test_a_replay_of_an_untouched_view_finds_no_difference(store: Store, view: str) -> None:
    fill(store)
    found = replay_projection(store.url, view)
    assert (found.difference_count, found.swapped) == (0, True)
    check(store)


def test_a_replay_needs_no_encryption_key(database_url: str) -> None:
    with open_store(database_url) as store:
        fill(store)
    with open_store(database_url, Keyring(OTHER_ENCRYPTION_KEY)) as store:
        for view in PROJECTIONS:
            assert replay_projection(store.url, view).difference_count == 0


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
    pytest.param("audit_trail", "UPDATE audit_trail SET actor = 'no one'", "changed", id="who did it"),
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
    left = replay_projection(store.url, view)
    assert (left.difference_count, left.swapped) == (found.difference_count, False), "what differs is not swapped"
    mended = replay_projection(store.url, view, swap=Swap.ALWAYS)
    assert (mended.difference_count, mended.swapped) == (found.difference_count, True)
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
    for view in (*PROJECTIONS, *PROJECTIONS):
        replay_projection(store.url, view)
    done.set()
    worker.join()
    for stored in seen:
        assert stored.current() is not None
    check(store)


def test_two_replays_of_one_view_do_not_run_at_once(store: Store) -> None:
    with replay_elsewhere(store.url, "audit_trail"), raises(ErrorCode.REPLAY_CONFLICT, match="already running"):
        replay_projection(store.url, "audit_trail")


def test_what_an_interrupted_replay_left_is_removed_by_the_next(store: Store) -> None:
    fill(store)
    with store.superuser() as database:
        database.execute("CREATE TABLE current_credentials_shadow (half text)")
    assert replay_projection(store.url, "current_credentials").difference_count == 0
    with store.superuser() as database:
        left = database.execute("SELECT to_regclass('current_credentials_shadow') AS shadow").fetchone()
    assert left == {"shadow": None}


@pytest.mark.parametrize("view", PROJECTIONS)
def test_an_event_that_is_not_understood_stops_a_replay_and_leaves_the_live_view(store: Store, view: str) -> None:
    fill(store)
    store.audit()
    before = rows(store, view)
    with store.superuser() as database:
        database.execute(
            "INSERT INTO keyledger_events SELECT gen_random_uuid(), 1, 'CredentialRenamed', '{}',"
            " max(notification_id) + 1 FROM keyledger_events"
        )
    with pytest.raises(CredentialIntegrityError, match="event-topic-unknown at position 11, topic CredentialRenamed"):
        replay_projection(store.url, view)
    assert rows(store, view) == before


def test_an_unknown_view_is_refused_with_the_known_ones(store: Store) -> None:
    with raises(ErrorCode.UNKNOWN_PROJECTION, match="current_credentials, access_keys, tenants, audit_trail"):
        replay_projection(store.url, "nothing")


@pytest.mark.parametrize("view", PROJECTIONS)
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
            replay_projection(store.url, view)
        assert [database.execute(query, [view]).fetchall() for query in shape] == before
        database.execute(f"DROP OWNED BY {role}")
        database.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("view", PROJECTIONS)
def test_a_replayed_view_keeps_its_owner_its_options_and_its_comment(store: Store, view: str) -> None:
    looks = (
        "SELECT pg_get_userbyid(relowner) AS owner, reloptions, obj_description(oid, 'pg_class') AS comment"
        " FROM pg_class WHERE oid = %s::regclass"
    )
    with store.superuser() as database:
        role = sql.Identifier(f"owner_{view}")
        database.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))
        database.execute(sql.SQL("CREATE ROLE {}").format(role))
        database.execute(sql.SQL("ALTER TABLE {} OWNER TO {}").format(sql.Identifier(view), role))
        before = database.execute(looks, [view]).fetchone()
        replay_projection(store.url, view)
        assert database.execute(looks, [view]).fetchone() == before
        assert before is not None
        assert before["owner"] == f"owner_{view}"
        database.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(role))
        database.execute(sql.SQL("DROP ROLE {}").format(role))


@pytest.mark.parametrize("view", [name for name in PROJECTIONS if name not in {ACCESS_KEYS.name, TENANTS.name}])
def test_a_copy_up_to_a_position_is_what_the_log_had_then_and_never_becomes_the_view(store: Store, view: str) -> None:
    fill(store)
    store.follow()
    before = rows(store, view)
    whole = replay_projection(store.url, view, until=10**12, swap=Swap.ALWAYS)
    assert (whole.position, whole.difference_count, whole.swapped) == (10, 0, False)
    half = replay_projection(store.url, view, until=5, swap=Swap.ALWAYS)
    assert (half.position, half.swapped) == (5, False)
    assert half.rows == {"current_credentials": 3, "audit_trail": 5, "transparency_log": 1}[view]
    assert half.difference_count > 0
    assert replay_projection(store.url, view, until=0).rows == 0
    assert rows(store, view) == before


def test_a_time_means_everything_up_to_its_last_event(store: Store) -> None:
    fill(store)
    times = [entry.timestamp for entry in store.audit()]
    assert replay_projection(store.url, "audit_trail", until=times[4]).position == 5
    assert replay_projection(store.url, "audit_trail", until=times[4] - timedelta(microseconds=1)).position == 4
    assert replay_projection(store.url, "audit_trail", until=times[0] - timedelta(days=1)).rows == 0
    assert replay_projection(store.url, "audit_trail", until=times[-1] + timedelta(days=1)).difference_count == 0


def test_a_view_whose_position_was_put_back_is_mended_by_a_replay(store: Store) -> None:
    fill(store)
    store.audit()
    with store.superuser() as database:
        database.execute("UPDATE projection_positions SET position = 2")
    assert replay_projection(store.url, "audit_trail", swap=Swap.ALWAYS).swapped
    assert len(store.audit()) == 10
    check(store)


def test_a_view_that_is_late_is_not_a_view_that_differs(store: Store) -> None:
    fill(store)
    assert rows(store, "audit_trail") == []
    assert replay_projection(store.url, "audit_trail").difference_count == 0
    assert len(rows(store, "audit_trail")) == 10


def test_a_difference_that_is_not_about_a_credential_has_no_tenant(store: Store) -> None:
    with store.superuser() as database:
        database.execute(
            "INSERT INTO audit_trail (position, stream_id, version, recorded_at, action, outcome, actor, role, source,"
            " request_id, command_id, node_time, details)"
            " VALUES (1, gen_random_uuid(), 1, now(), 'key-introduced', 'success', 'x', 'x', 'x', 'x', 'x', now(),"
            " '{}')"
        )
    assert compare(store.url, "audit_trail").differences == (Difference("unexpected", None, None, 1),)


def test_a_view_that_a_long_transaction_reads_is_left_and_the_others_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "SWAP_TRIES", 2)
    fill(store)
    with psycopg.connect(store.url) as dump:
        dump.execute("SELECT count(*) FROM current_credentials")
        with raises(ErrorCode.REPLAY_CONFLICT, match="long transaction"):
            replay_projection(store.url, "current_credentials")
        store.set(TENANT, "openai", f"{KEY}-3")
    assert replay_projection(store.url, "current_credentials").swapped
    check(store)


def test_a_role_that_does_not_own_a_view_is_told_so(store: Store) -> None:
    with store.superuser() as database:
        database.execute("DROP ROLE IF EXISTS guest_of_views")
        database.execute("CREATE ROLE guest_of_views LOGIN")
        url = psycopg.conninfo.make_conninfo(store.url, user="guest_of_views")
        with raises(ErrorCode.REPLAY_CONFLICT, match="owns audit_trail"):
            replay_projection(url, "audit_trail")
        database.execute("DROP ROLE guest_of_views")


class Interrupted(BaseException):
    """As Ctrl-C is."""


@pytest.mark.parametrize("view", PROJECTIONS)
def test_an_interruption_leaves_the_live_view_and_nothing_else(store: Store, view: str) -> None:
    fill(store)
    store.audit()
    before = rows(store, view)

    def interrupt(done: int, total: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        replay_projection(store.url, view, interrupt, swap=Swap.ALWAYS)
    assert rows(store, view) == before
    with store.superuser() as database:
        left = database.execute("SELECT to_regclass(%s) AS shadow", [f"{view}_shadow"]).fetchone()
    assert left == {"shadow": None}
    assert replay_projection(store.url, view).swapped


def test_progress_ends_with_all_events(store: Store) -> None:
    fill(store)
    for view in PROJECTIONS:
        told: list[tuple[int, int]] = []
        replay_projection(store.url, view, lambda done, total, told=told: told.append((done, total)))  # type: ignore[misc]
        assert told[-1] == (10, 10)


def test_a_view_stands_where_it_is_until_somebody_follows(store: Store) -> None:
    fill(store)
    with connect(store.url) as connection:
        current, _, _, trail, tree = projection_statuses(connection)
        assert (tree.position, tree.lag, tree.rows, tree.stopped) == (0, 10, 0, None)
        assert (current.position, current.head, current.lag, current.rows, current.stopped) == (10, 10, 0, 6, None)
        assert (trail.position, trail.head, trail.lag, trail.rows, trail.stopped) == (0, 10, 10, 0, None)
        store.follow()
        assert [one.lag for one in projection_statuses(connection)] == [0] * 5


NAMED = [
    pytest.param("CredentialRenamed", "event-topic-unknown at position 11, topic CredentialRenamed", id="a topic"),
    pytest.param("os:system(1)", "event-topic-unknown at position 11", id="what is not a topic"),
    pytest.param("x" * 65, "event-topic-unknown at position 11", id="what is too long for one"),
]


@pytest.mark.parametrize(("topic", "said"), NAMED)
def test_a_view_that_is_stopped_says_where_and_by_what(store: Store, topic: str, said: str) -> None:
    fill(store)
    store.audit()
    with store.superuser() as database:
        database.execute("INSERT INTO keyledger_events VALUES (gen_random_uuid(), 1, %s, '{}', 11)", [topic])
    with pytest.raises(CredentialIntegrityError, match=said.split(",", maxsplit=1)[0]):
        store.audit()
    with connect(store.url) as connection:
        assert projection_statuses(connection)[3].stopped == said


def other_indexes_are(monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    """Let all but the primary key be this."""
    creation = shadow._creation

    def replaced(projection: str, index: Row) -> sql.Composed:
        return creation(projection, index) if index["indisprimary"] else sql.SQL(statement).format()

    monkeypatch.setattr(shadow, "_creation", replaced)


@pytest.mark.parametrize("view", ["current_credentials", "audit_trail"])
def test_an_index_that_cannot_be_built_leaves_the_live_view(
    store: Store, monkeypatch: pytest.MonkeyPatch, view: str
) -> None:
    fill(store)
    store.follow()
    before = rows(store, view)
    with monkeypatch.context() as patched:
        other_indexes_are(patched, "SELECT 1/0")
        with pytest.raises(StoreUnavailableError):
            replay_projection(store.url, view)
    assert rows(store, view) == before
    assert replay_projection(store.url, view).swapped


@pytest.mark.parametrize("view", ["current_credentials", "audit_trail", "transparency_log"])
def test_indexes_are_abandoned_for_a_copy_that_is_not_swapped(
    store: Store, monkeypatch: pytest.MonkeyPatch, view: str
) -> None:
    fill(store)
    store.follow()
    with store.superuser() as database:
        database.execute(f"DELETE FROM {view}")
    other_indexes_are(monkeypatch, "SELECT pg_sleep(3600)")
    assert not replay_projection(store.url, view).swapped
    with store.superuser() as database:
        waiting = database.execute(
            "SELECT count(*) AS n FROM pg_stat_activity"
            " WHERE query ~ '^SELECT pg_sleep' AND state = 'active' AND datname = current_database()"
        )
        assert waiting.fetchone() == {"n": 0}


def test_a_comparison_builds_no_index_but_the_key(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store)
    other_indexes_are(monkeypatch, "SELECT 1/0")
    for view in PROJECTIONS:
        assert compare(store.url, view).difference_count == 0
        assert replay_projection(store.url, view, until=5).position == 5
