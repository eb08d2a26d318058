"""The lease of a node: what it may rely on, on which server, and when all others obey a change."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from psycopg_pool import ConnectionPool

from domain.errors import StoreUnavailableError
from domain.events.event import CommandMeta, utc_now
from domain.operations.restore import accept_restore
from keyledger.encryption.nodes import Presence
from keyledger.log.acknowledged import Acknowledged
from keyledger.log.node_lease import ACKNOWLEDGED, CLOCK_S, DRIFT_S, LEASE_S, Beat, NodeLease
from projections.database.connections import BoundedConnection
from projections.database.pools import open_pool
from tests.support.rings import OLD
from tests.support.store import Store, open_store

FIRST, SECOND = "00000001", "00000002"
TENANT = str(uuid4())


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def lease(clock: Hand) -> NodeLease:
    lease = NodeLease(clock)
    lease.begin()
    return lease


def refused(act: Callable[[], None]) -> bool:
    try:
        act()
    except StoreUnavailableError:
        return True
    return False


def test_nothing_may_be_relied_on_before_the_first_confirmed_heartbeat(lease: NodeLease) -> None:
    assert refused(lease.require)
    assert not lease.check().ok


def test_a_start_works_before_the_lease_begins(clock: Hand) -> None:
    lease = NodeLease(clock)
    lease.require_for_change()
    assert lease.admits(FIRST)


def test_a_lease_ends_some_seconds_after_the_sending_of_the_last_heartbeat(lease: NodeLease, clock: Hand) -> None:
    lease.renew(Beat(FIRST, clock.now - 1.0))
    clock.now += LEASE_S - 1.0
    lease.require()
    clock.now += 0.01
    assert refused(lease.require)
    assert refused(lease.require_for_change)
    assert not lease.check().ok
    lease.renew(Beat(FIRST, clock.now))
    lease.require()


def test_only_the_server_of_the_last_heartbeat_is_admitted_and_another_hastens_the_next(lease: NodeLease) -> None:
    asked: list[bool] = []
    lease.hasten = lambda: asked.append(True)
    lease.renew(Beat(FIRST, 100.0))
    assert lease.admits(FIRST)
    assert not asked
    assert not lease.admits(SECOND)
    assert asked
    lease.renew(Beat(SECOND, 100.0))
    assert lease.admits(SECOND)
    assert not lease.admits(FIRST)


def test_a_server_of_an_earlier_timeline_renews_no_lease(lease: NodeLease, clock: Hand) -> None:
    lease.renew(Beat(SECOND, clock.now))
    clock.now += LEASE_S + 1
    assert refused(lambda: lease.renew(Beat(FIRST, clock.now)))
    assert refused(lease.require)


BEHIND = {
    "none is behind": ([Beat(FIRST, 100.0)], 0.0),
    "one stays behind": ([Beat(FIRST, 100.0, behind=True)], LEASE_S + DRIFT_S),
    "the one behind renewed since": ([Beat(FIRST, 100.0, behind=True), Beat(FIRST, 100.0)], 0.0),
    "the second heartbeat waits no longer": (
        [Beat(FIRST, 100.0, behind=True), Beat(FIRST, 100.0, behind=True)],
        LEASE_S + DRIFT_S,
    ),
    "another promotion": ([Beat(FIRST, 100.0), Beat(SECOND, 100.0, behind=True)], LEASE_S + DRIFT_S),
}


@pytest.mark.parametrize(("beats", "seconds"), BEHIND.values(), ids=BEHIND)
def test_a_change_is_answered_once_every_node_was_heard_from_or_its_lease_ended(
    lease: NodeLease, clock: Hand, monkeypatch: pytest.MonkeyPatch, beats: list[Beat], seconds: float
) -> None:
    for beat in beats:
        lease.renew(beat)

    async def tick(pause: float) -> None:
        assert pause > 0
        clock.now += pause

    monkeypatch.setattr(asyncio, "sleep", tick)
    asyncio.run(lease.obeyed())
    assert clock.now == pytest.approx(100.0 + seconds)


def test_a_contradiction_stops_changes_until_its_source_withdraws_it(lease: NodeLease, clock: Hand) -> None:
    lease.renew(Beat(FIRST, clock.now))
    lease.contradict("anchor", "the log went back")
    lease.contradict(ACKNOWLEDGED, "")
    lease.require()
    assert refused(lease.require_for_change)
    lease.contradict("anchor", "")
    lease.require_for_change()


@pytest.mark.parametrize(
    ("ahead", "right"), [(CLOCK_S, True), (-CLOCK_S, True), (CLOCK_S + 0.1, False), (-3600, False)]
)
def test_a_clock_that_is_too_far_off_makes_the_node_not_ready(lease: NodeLease, ahead: float, *, right: bool) -> None:
    lease.renew(Beat(FIRST, 100.0, ahead=ahead))
    assert lease.check_clock().ok is right


@contextmanager
def leased_pool(store: Store, lease: NodeLease) -> Iterator[ConnectionPool[BoundedConnection]]:
    pool = open_pool(store.url, lease.admits)
    try:
        yield pool
    finally:
        pool.close()


def test_a_pool_gives_out_no_connection_to_a_server_that_did_not_confirm_the_last_heartbeat(store: Store) -> None:
    lease = NodeLease()
    with leased_pool(store, lease) as pool:
        Presence(store.pool, lease).beat(OLD)
        with pool.connection() as connection:
            assert lease.admits(connection.epoch)
        lease.renew(Beat("FFFFFFFF", 0.0))
        with pytest.raises(Exception, match="couldn't get a connection"), pool.connection(timeout=0.2):
            pass


def test_a_node_that_was_last_heard_from_on_another_server_is_waited_for(store: Store, clock: Hand) -> None:
    here = NodeLease(clock)
    other = Presence(store.pool)
    other.beat(OLD)
    with store.superuser() as database:
        database.execute("UPDATE nodes SET epoch = '00000000', process = 'elsewhere'")
    node = Presence(store.pool, here)
    node.beat(OLD)
    assert here._hold_until > clock.now
    other.beat(OLD)
    node.beat(OLD)
    assert here._hold_until <= clock.now


@pytest.mark.parametrize("change", ["lost", "replaced"])
def test_an_acknowledged_event_that_the_log_lacks_stops_changes_until_the_log_is_accepted(
    store: Store, change: str
) -> None:
    lease = NodeLease()
    lease.begin()
    node = Presence(store.pool, lease, acknowledged=store.log.acknowledged)
    store.set(TENANT, "openai", "sk-live-acknowledged-1")
    node.beat(OLD)
    lease.require_for_change()
    store.set(TENANT, "openai", "sk-live-acknowledged-2")
    with store.superuser() as database:
        database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER ALL")
        statement = {
            "lost": "DELETE FROM keyledger_events",
            "replaced": "UPDATE keyledger_events SET code = sha256(code)",
        }
        database.execute(
            f"{statement[change]} WHERE notification_id = (SELECT max(notification_id) FROM keyledger_events)"
        )
    node.beat(OLD)
    assert refused(lease.require_for_change)
    assert "no longer has position 2" in lease.check().text
    lease.require()  # calls have checks of their own
    with open_store(store.url) as operators:
        meta = CommandMeta("olga", "req-1", "cmd-restore")
        operators.log.append([accept_restore(None, 2, 1, None, meta, utc_now())])
    node.beat(OLD)
    lease.require_for_change()


def test_a_process_that_acknowledged_nothing_knows_no_contradiction(store: Store) -> None:
    with store.pool.connection() as connection:
        assert Acknowledged().contradiction(connection) == ""


def test_a_promotion_may_take_back_only_what_no_heartbeat_of_the_old_server_followed(
    lease: NodeLease, clock: Hand
) -> None:
    lease.renew(Beat(FIRST, clock.now))
    confirmed = lease.moment()
    clock.now += 1
    late = lease.moment()
    lease.renew(Beat(FIRST, clock.now - 0.5))
    assert not lease.may_have_taken_back(late)
    lease.renew(Beat(SECOND, clock.now))
    assert [lease.may_have_taken_back(seen) for seen in (confirmed, late, lease.moment())] == [False, True, False]
