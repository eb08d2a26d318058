"""The meter on a real database: hours, threads, nodes and outages; what providers say of credentials, told once."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.audit.token_usage import Spent, TokenFilter
from domain.audit.usage import GLOBAL_KEY, HOUR, OTHERS, UsageFilter, UsagePlace, UsageRecord
from domain.calls.tokens import Tokens
from domain.credentials.acceptance import AGAIN_AFTER, CredentialRecovered, CredentialRejected, acceptance_stream
from domain.errors import StoreUnavailableError
from domain.events.event import Event
from domain.events.event_log import EventLog
from keyledger.log.recorders.acceptance_recorder import AcceptanceRecorder
from keyledger.usage import token_counts, usage_meter
from keyledger.usage.usage_meter import UsageMeter
from projections.usage.additions import BATCH
from projections.usage.credential_usage import PostgresCredentialUsage
from projections.usage.token_usage import PostgresTokenUsage
from tests.support.checker import check
from tests.support.faulty_link import Fault, faulty_link
from tests.support.scenario import OTHER_TENANT, TENANT
from tests.support.store import Store, open_store
from tests.support.twins.token_usage import MemoryTokenUsage

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LOST = [pytest.param(fault, id=fault.value) for fault in (Fault.REQUEST_LOST, Fault.ANSWER_LOST)]


@dataclass
class Hands:
    """A clock that a test sets."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True)
class Node:
    """One service's meter."""

    meter: UsageMeter
    usage: PostgresCredentialUsage
    hands: Hands

    def call(self, version: int = 1, *, status: int = 200, provider: str = "openai", request_id: str = "") -> None:
        self.meter.used(
            TENANT, provider, version, failed=status != 200, rejected=status == 401, request_id=request_id or None
        )


def node(store: Store, log: EventLog | None = None) -> Node:
    hands, usage = Hands(), PostgresCredentialUsage(store.pool)
    acceptances = AcceptanceRecorder(log or store.log, hands)
    return Node(UsageMeter(usage, acceptances, hands, PostgresTokenUsage(store.pool)), usage, hands)


def records(usage: PostgresCredentialUsage, **wanted: object) -> list[tuple[int, str, int, int, int]]:
    """Hour of the day, provider, version, calls and failures."""
    found = usage.page(UsageFilter(**wanted))  # type: ignore[arg-type]
    return [(one.place.hour.hour, *one.place[2:], one.calls, one.failures) for one in found]


def flush_until_it_works(meter: UsageMeter) -> None:
    """The server may not have noticed yet that a connection is gone; what it did there is not decided until it has.

    It ends a transaction that is idle after five seconds, which is a good deal more than two thousand flushes.
    """
    for _ in range(50_000):
        with suppress(StoreUnavailableError):
            return meter.flush()
    raise AssertionError("the database does not come back")


def told(store: Store, provider: str = "openai") -> list[tuple[str, int]]:
    events = store.log.stream(acceptance_stream(TENANT, provider))
    return [
        (type(event).__name__, event.credential_version) for event in events if hasattr(event, "credential_version")
    ]


class TestCounts:
    def test_calls_add_up_by_version_and_provider(self, store: Store) -> None:
        one = node(store)
        for status in (200, 500, 401, 200):
            one.call(status=status)
        one.call(2)
        one.call(provider="mistral")
        one.meter.flush()
        one.call()
        one.meter.flush()
        assert records(one.usage) == [(12, "mistral", 1, 1, 0), (12, "openai", 1, 5, 2), (12, "openai", 2, 1, 0)]

    def test_nothing_is_written_before_a_flush_nor_by_one_that_has_nothing_to_write(self, store: Store) -> None:
        one = node(store)
        one.meter.flush()
        one.call()
        assert records(one.usage) == []

    @pytest.mark.parametrize(
        ("moments", "expected"),
        [
            pytest.param(["12:59:59.999999", "13:00:00"], [(12, 1), (13, 1)], id="the last moment and the first"),
            pytest.param(["12:00:00", "12:59:59.999999"], [(12, 2)], id="both ends of one hour"),
            pytest.param(["13:00:00", "12:30:00", "15:00:00"], [(12, 1), (13, 1), (15, 1)], id="a clock set back"),
        ],
    )
    def test_a_call_belongs_to_the_hour_it_ended_in(
        self, store: Store, moments: list[str], expected: list[tuple[int, int]]
    ) -> None:
        one = node(store)
        for moment in moments:
            one.hands.now = datetime.fromisoformat(f"2026-03-01T{moment}+00:00")
            one.call()
        one.meter.flush()
        assert [(hour, calls) for hour, _, _, calls, _ in records(one.usage)] == expected

    def test_the_last_use_is_the_latest_of_all_nodes(self, store: Store) -> None:
        early, late = node(store), node(store)
        early.hands.now, late.hands.now = NOON + timedelta(minutes=5), NOON + timedelta(minutes=50)
        for one in (late, early):
            one.call()
            one.meter.flush()
        assert [one.last_used_at for one in early.usage.page(UsageFilter())] == [NOON + timedelta(minutes=50)]

    def test_many_threads_and_nodes_lose_and_double_nothing(self, store: Store) -> None:
        nodes = [node(store) for _ in range(3)]

        def work(number: int) -> None:
            for turn in range(100):
                one = nodes[number % 3]
                one.call(1 + turn % 4, status=200 if turn % 5 else 500)
                if turn % 20 == 0:
                    one.meter.flush()

        with ThreadPoolExecutor(9) as threads:
            list(threads.map(work, range(9)))
        for one in nodes:
            one.meter.flush()
        found = records(nodes[0].usage)
        assert [(version, calls) for _, _, version, calls, _ in found] == [(n, 225) for n in (1, 2, 3, 4)]
        assert sum(failures for *_, failures in found) == 180

    def test_more_than_one_statement_takes_is_written_all_the_same(self, store: Store) -> None:
        one = node(store)
        for version in range(BATCH + 1):
            one.call(version)
        one.meter.flush()
        with store.superuser() as database:
            assert database.execute("SELECT sum(calls) AS n FROM credential_usage").fetchone() == {"n": BATCH + 1}

    def test_an_orderly_end_writes_what_was_counted(self, store: Store) -> None:
        one = node(store)

        async def live() -> None:
            await one.meter.start()
            one.call()
            await one.meter.stop()

        asyncio.run(live())
        assert records(one.usage) == [(12, "openai", 1, 1, 0)]


class TestOutage:
    @pytest.mark.parametrize("fault", LOST)
    @pytest.mark.parametrize(
        "statement",
        [
            pytest.param("pg_current_xact_id", id="beginning"),
            pytest.param("INTO credential_usage", id="adding"),
            pytest.param("COMMIT", id="committing"),
        ],
    )
    def test_counts_of_a_broken_flush_are_added_once(self, database_url: str, statement: str, fault: Fault) -> None:
        with faulty_link(database_url) as link, open_store(link.url) as store:
            one = node(store)
            one.call()
            link.break_next(statement, fault)
            with pytest.raises(StoreUnavailableError):
                one.meter.flush()
            one.call(status=500)
            flush_until_it_works(one.meter)
            assert link.faults_met == 1
            assert records(one.usage) == [(12, "openai", 1, 2, 1)]

    def test_an_addition_that_still_runs_is_waited_for(self, store: Store) -> None:
        usage = PostgresCredentialUsage(store.pool)
        with store.superuser() as database, database.transaction():
            row = database.execute("SELECT pg_current_xact_id()::text AS id").fetchone()
            assert row is not None
            with pytest.raises(StoreUnavailableError):
                usage.was_added(str(row["id"]))
        assert usage.was_added(str(row["id"]))

    def test_an_addition_that_this_server_has_never_seen_did_not_happen(self, store: Store) -> None:
        assert not PostgresCredentialUsage(store.pool).was_added("999999999999")

    def test_what_a_refused_statement_was_to_add_is_known_not_to_be_there(self, store: Store) -> None:
        usage = PostgresCredentialUsage(store.pool)
        transaction = usage.add([UsageRecord(UsagePlace(NOON, TENANT, "openai", 2**70), 1, 0, NOON)])
        assert transaction is not None
        assert not usage.was_added(transaction)

    @pytest.mark.parametrize("fault", LOST)
    @pytest.mark.parametrize("statement", ["acceptance", "keyledger_append"])
    def test_a_refusal_is_told_once_whatever_breaks(self, database_url: str, statement: str, fault: Fault) -> None:
        with faulty_link(database_url) as link, open_store(link.url) as store:
            one = node(store)
            one.call(status=401)
            one.call(status=200)
            link.break_next("wanted (stream)" if statement == "acceptance" else statement, fault)
            with pytest.raises(StoreUnavailableError):
                one.meter.flush()
            flush_until_it_works(one.meter)
            assert link.faults_met == 1
            assert told(store) == [("CredentialRejected", 1), ("CredentialRecovered", 1)]
            assert records(one.usage) == [(12, "openai", 1, 2, 1)]

    def test_memory_is_bounded_and_what_is_beyond_is_said(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(usage_meter, "ENTRIES", 3)
        one = node(store)
        for version in (1, 2, 3, 4, 5, 1):
            one.call(version)
        one.meter.flush()
        assert [(version, calls) for _, _, version, calls, _ in records(one.usage)] == [(1, 2), (2, 1), (3, 1)]
        assert "2 calls were not counted" in caplog.text


class TestAcceptance:
    def test_a_hundred_refusals_are_one_event_with_the_first_ones_request(self, store: Store) -> None:
        one = node(store)
        for number in range(100):
            one.call(status=401, request_id=f"req-{number}")
            if number % 10 == 0:
                one.meter.flush()
        one.meter.flush()
        assert told(store) == [("CredentialRejected", 1)]
        event = store.log.last(acceptance_stream(TENANT, "openai"))
        assert event is not None
        assert (event.request_id, event.actor, event.role, event.source) == ("req-0", "service", "service", "service")

    def test_a_hundred_successes_are_no_event(self, store: Store) -> None:
        one = node(store)
        for _ in range(100):
            one.call()
            one.meter.flush()
        assert told(store) == []

    @pytest.mark.parametrize("status", [403, 429, 500])
    def test_other_failures_say_nothing_about_the_key(self, store: Store, status: int) -> None:
        one = node(store)
        one.call(status=status)
        one.meter.flush()
        assert told(store) == []
        one.call(status=401)
        one.call(status=status)
        one.meter.flush()
        assert told(store) == [("CredentialRejected", 1)]

    def test_recovery_is_told_once_also_by_a_node_that_saw_no_refusal(self, store: Store) -> None:
        refused, other = node(store), node(store)
        refused.call(status=401)
        refused.meter.flush()
        for _ in range(3):
            for one in (other, refused):
                one.call()
                one.meter.flush()
        assert told(store) == [("CredentialRejected", 1), ("CredentialRecovered", 1)]

    def test_a_replaced_credential_starts_in_order_and_late_answers_to_the_old_one_say_nothing(
        self, store: Store
    ) -> None:
        one = node(store)
        store.set(TENANT, "openai", "sk-first-0123456789")
        one.call(1, status=401)
        one.meter.flush()
        assert [status.rejected for status in store.service.of_tenant(TENANT)] == [True]
        store.set(TENANT, "openai", "sk-second-0123456789")
        assert [status.rejected for status in store.service.of_tenant(TENANT)] == [False]
        one.call(2)
        one.meter.flush()
        assert told(store) == [("CredentialRejected", 1)], "a new version needs no recovery"
        one.call(2, status=401)
        one.call(1, status=401)
        one.meter.flush()
        one.call(1)
        one.meter.flush()
        assert told(store) == [("CredentialRejected", 1), ("CredentialRejected", 2)]
        assert store.service.get(TENANT, "openai").rejected
        one.call(2)
        one.meter.flush()
        assert told(store)[2:] == [("CredentialRecovered", 2)]
        assert not store.service.get(TENANT, "openai").rejected

    def test_the_past_shows_what_was_refused_then(self, store: Store) -> None:
        from projections.credentials.as_of import PostgresPastCredentials

        store.set(TENANT, "openai", "sk-first-0123456789")
        one = node(store)
        one.hands.now = datetime.now(UTC)
        one.call(1, status=401)
        one.meter.flush()
        refused_at, one.hands.now = one.hands.now, one.hands.now + timedelta(minutes=1)
        one.call(1)
        one.meter.flush()
        past = PostgresPastCredentials(store.pool, store.keyring)
        moments = (refused_at - timedelta(microseconds=1), refused_at, one.hands.now)
        assert [[status.rejected for status in past.of_tenant(TENANT, at)] for at in moments] == [
            [False],
            [True],
            [False],
        ]

    def test_nodes_that_see_the_first_refusal_at_once_tell_it_once(self, store: Store) -> None:
        nodes = [node(store) for _ in range(4)]
        for one in nodes:
            for provider in ("openai", "mistral", "anthropic"):
                one.call(status=401, provider=provider)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda one: one.meter.flush(), nodes))
        for provider in ("openai", "mistral", "anthropic"):
            assert told(store, provider) == [("CredentialRejected", 1)]
        check(store)

    def test_a_rival_between_the_look_and_the_append_is_looked_at_again(self, store: Store) -> None:
        rival = node(store)
        rival.call(status=401)

        class Outrun:
            """A log whose first append comes after a rival's."""

            last, find_all, newest, confirm = store.log.last, store.log.find_all, store.log.newest, store.log.confirm

            def append(self, events: list[Event]) -> None:
                rival.meter.flush()
                store.log.append(events)

        slow = node(store, Outrun())  # type: ignore[arg-type]  # its append takes lists, as the meter gives them
        slow.call(status=401)
        slow.meter.flush()
        assert told(store) == [("CredentialRejected", 1)]

    @given(st.lists(st.lists(st.sampled_from([200, 401, 500]), max_size=6), max_size=6))
    def test_the_log_tells_refusal_and_recovery_in_turn_and_ends_with_the_last_word(
        self, flushes: list[list[int]]
    ) -> None:
        log, hands = _InMemory(), Hands()
        acceptances = AcceptanceRecorder(log, hands)
        meter = UsageMeter(_Nowhere(), acceptances, hands, MemoryTokenUsage())
        for statuses in flushes:
            for status in statuses:
                meter.used(TENANT, "openai", 1, failed=status != 200, rejected=status == 401)
            meter.flush()
            hands.now += AGAIN_AFTER
        meter.flush()
        kinds = [type(event) for event in log.events]
        assert kinds == [CredentialRejected if n % 2 == 0 else CredentialRecovered for n in range(len(kinds))]
        words = [status for statuses in flushes for status in statuses if status != 500]
        assert bool(kinds) is (401 in words)
        if kinds:
            assert (kinds[-1] is CredentialRejected) is (words[-1] == 401)

    def test_a_provider_that_changes_its_mind_all_the_time_fills_no_log(self) -> None:
        log, hands = _InMemory(), Hands()
        acceptances = AcceptanceRecorder(log, hands)
        meter = UsageMeter(_Nowhere(), acceptances, hands, MemoryTokenUsage())
        for second in range(3600):
            for status in (401, 200) if second % 2 else (200, 401):
                meter.used(TENANT, "openai", 1, failed=status != 200, rejected=status == 401)
            meter.flush()
            hands.now += timedelta(seconds=1)
        assert 6 <= len(log.events) <= 14
        meter.used(TENANT, "openai", 1, failed=True, rejected=True)
        meter.flush()
        assert not meter.waits(), "what waits for time does not make every reader flush"
        hands.now += AGAIN_AFTER
        meter.flush()
        assert type(log.events[-1]) is CredentialRejected, "the last word is recorded in the end"


class _InMemory:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def last(self, stream: object) -> Event | None:
        return self.events[-1] if self.events else None

    def find_all(self, wanted: object) -> dict:
        raise AssertionError

    def append(self, events: object) -> None:
        assert isinstance(events, list)
        self.events += events

    def proves(self, event: object) -> bool:
        raise AssertionError

    def disowns(self, event: object) -> bool:
        raise AssertionError

    def confirm(self, events: object) -> None:
        pass

    def newest(self, streams: object) -> dict:
        return {event.originator_id: event for event in self.events[-1:]}


class _Nowhere:
    def add(self, records: object) -> None:
        pass

    def was_added(self, transaction: str) -> bool:
        raise AssertionError


class TestPages:
    def test_pages_are_in_order_and_hold_every_record_once(self, store: Store) -> None:
        one = node(store)
        for hours in (2, 0, 1):
            one.hands.now = NOON + timedelta(hours=hours)
            for provider in ("openai", "azure"):
                for version in (10, 9):
                    one.call(version, provider=provider)
            one.meter.used(OTHER_TENANT, "openai", 1, failed=False, rejected=False)
        one.meter.flush()
        whole = [record.place for record in one.usage.page(UsageFilter())]
        assert whole == sorted(whole)
        assert len(whole) == 15
        paged: list[UsagePlace] = []
        after = None
        while page := one.usage.page(UsageFilter(after=after, limit=4)):
            paged += [record.place for record in page]
            after = UsagePlace.read(paged[-1].cursor())
            assert after == paged[-1]
        assert paged == whole

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            pytest.param({"tenant_id": TENANT}, [12, 13], id="a tenant"),
            pytest.param({"tenant_id": OTHER_TENANT}, [], id="a tenant without any"),
            pytest.param({"provider": "openai"}, [12, 13], id="a provider"),
            pytest.param({"provider": "azure"}, [], id="a provider without any"),
            pytest.param({"since": NOON + timedelta(hours=1)}, [13], id="since, included"),
            pytest.param({"until": NOON + timedelta(hours=1)}, [12], id="until, not included"),
            pytest.param({"limit": 1}, [12], id="no more than asked for"),
        ],
    )
    def test_a_reader_gets_what_fits(self, store: Store, wanted: dict[str, object], expected: list[int]) -> None:
        one = node(store)
        for hours in (0, 1):
            one.hands.now = NOON + timedelta(hours=hours)
            one.call()
        one.meter.flush()
        assert [hour for hour, *_ in records(one.usage, **wanted)] == expected


def test_the_global_key_is_counted_for_each_tenant_until_there_are_too_many(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_meter, "GLOBAL_TENANTS", 2)
    one = node(store)

    def call(*tenants: str) -> None:
        for tenant in tenants:
            one.meter.used(tenant, "openai", GLOBAL_KEY, failed=True, rejected=True)

    strangers = [str(uuid4()) for _ in range(20)]
    call(TENANT, OTHER_TENANT, *strangers, TENANT)
    one.hands.now += HOUR
    call(strangers[0])
    one.meter.flush()
    counts = {(record.place.hour, record.place.tenant_id): record.calls for record in one.usage.page(UsageFilter())}
    assert counts == {(NOON, TENANT): 2, (NOON, OTHER_TENANT): 1, (NOON, OTHERS): 20, (NOON + HOUR, strangers[0]): 1}
    assert list(store.log.stream(acceptance_stream(TENANT, "openai"))) == [], (
        "a rejected global key is not a tenant's credential"
    )


def spent(cost: str | None = "0.1", key: str = "app", model: str = "gpt-4o") -> Spent:
    return Spent(key, model, None if cost is None else Tokens(10, 5, 4, 3, 2), Decimal(cost) if cost else None, "USD")


def use(one: Node, what: Spent, *, failed: bool = False) -> None:
    one.meter.used(TENANT, "openai", 1, failed=failed, rejected=False, spent=what)


def test_tokens_and_cost_add_up_exactly_by_caller_and_model(store: Store) -> None:
    one = node(store)
    for what in (spent(), spent("0.2"), spent(None), spent(key="", model="o3")):
        use(one, what)
    use(one, spent(), failed=True)
    assert one.meter.waits()
    one.meter.flush()
    assert not one.meter.waits()
    first, second = PostgresTokenUsage(store.pool).page(TokenFilter())
    assert (first.place.access_key, first.place.model, first.calls, first.cost) == ("", "o3", 1, Decimal("0.1"))
    assert (second.place.access_key, second.place.version, second.place.currency) == ("app", 1, "USD")
    assert (second.calls, second.failures, second.unknown, second.unpriced) == (4, 1, 1, 1)
    assert (second.tokens, second.cost) == (Tokens(30, 15, 12, 9, 6), Decimal("0.4"))


@pytest.mark.parametrize("fault", LOST)
def test_a_lost_connection_loses_and_doubles_no_tokens(database_url: str, fault: Fault) -> None:
    with faulty_link(database_url) as link, open_store(link.url) as store:
        one = node(store)
        use(one, spent())
        link.break_next("INTO token_usage", fault)
        with pytest.raises(StoreUnavailableError):
            one.meter.flush()
        use(one, spent("0.2"))
        flush_until_it_works(one.meter)
        (found,) = PostgresTokenUsage(store.pool).page(TokenFilter())
        assert (link.faults_met, found.calls, found.cost) == (1, 2, Decimal("0.3"))
        assert records(one.usage) == [(12, "openai", 1, 2, 0)]


def test_names_of_models_that_callers_invent_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_counts, "MODELS", 2)
    one = node(store)
    for number in range(5):
        use(one, spent(model=f"model-{number}"))
    one.meter.flush()
    found = PostgresTokenUsage(store.pool).page(TokenFilter())
    assert [(record.place.model, record.calls) for record in found] == [("", 3), ("model-0", 1), ("model-1", 1)]
    one.hands.now += HOUR
    use(one, spent(model="model-4"))
    one.meter.flush()
    (record,) = PostgresTokenUsage(store.pool).page(TokenFilter(since=NOON + HOUR))
    assert record.place.model == "model-4"
