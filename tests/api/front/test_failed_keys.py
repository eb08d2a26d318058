"""Wrong keys are slowed and locked out by address, within bounds; a valid key never is."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import httpx2
import pytest

from api.front import failed_keys
from api.front.failed_keys import (
    ADDRESSES,
    DELAY_MAX_S,
    GUESS_S,
    NO_LOCKOUT,
    REPEAT_S,
    WAITING,
    WAITING_EACH,
    FailedKeys,
    Failure,
    LockoutPolicy,
)
from api.front.proxies import TrustedProxies, parse_network
from domain.access.roles import Role
from domain.audit.request_events import AddressLockedOut, RequestRefused
from tests.api.conftest import CREDENTIALS, KEYS, NATIVE, SUPER_KEY, Harness
from tests.support.asgi import client_on

POLICY = LockoutPolicy()
ONE, OTHER = "192.0.2.7", "192.0.2.8"


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def keys(time: Time) -> FailedKeys:
    return FailedKeys(time)


def failure_of(keys: FailedKeys, key: str | None, network: str = ONE, policy: LockoutPolicy = POLICY) -> Failure:
    """The failure of a client that sends nothing more until it is answered."""
    failure = keys.note(network, key, policy)
    keys._clock.now += failure.delay  # type: ignore[attr-defined]  # the clock of this test
    return failure


def test_the_first_wrong_key_is_answered_at_once_and_an_address_that_guesses_is_locked_out(
    time: Time, keys: FailedKeys
) -> None:
    failures = [failure_of(keys, f"guess-{number}") for number in range(POLICY.attempts + 5)]
    assert failures[0].delay == 0
    assert [failure.retry_after is None for failure in failures] == [True] * 19 + [False] * 6
    assert [failure.begins_lockout for failure in failures].index(True) == POLICY.attempts - 1
    assert sum(failure.begins_lockout for failure in failures) == 1
    assert failures[19].retry_after == POLICY.seconds
    assert failure_of(keys, "guess", OTHER).retry_after is None


def test_a_lockout_ends_and_begins_again_after_as_many_guesses(time: Time, keys: FailedKeys) -> None:
    for number in range(POLICY.attempts):
        failure_of(keys, f"guess-{number}")
    time.now += POLICY.seconds
    again = [failure_of(keys, f"later-{number}").begins_lockout for number in range(POLICY.attempts)]
    assert again.index(True) == POLICY.attempts - 1


@pytest.mark.parametrize("threads", [1, 8])
def test_an_address_gets_a_few_guesses_a_second_answered_however_many_it_sends_at_a_time(
    time: Time, threads: int
) -> None:
    keys, answered, begun = FailedKeys(time), 0, time.now
    leaving = [time.now] * threads
    while time.now < begun + 120:
        time.now = leaving.pop(0)
        leaving = sorted([*leaving, time.now + keys.note(ONE, f"guess-{answered}", POLICY).delay])
        answered += 1
    assert answered / 120 <= 1.1 / GUESS_S


def test_requests_that_guess_nothing_are_hardly_slowed_and_lock_nothing_out_soon(time: Time, keys: FailedKeys) -> None:
    stale = [failure_of(keys, "stale") for _ in range(100)]
    keyless = [failure_of(keys, None) for _ in range(10_000)]
    assert not any(failure.retry_after for failure in (*stale, *keyless))
    assert max(failure.delay for failure in (*stale[2:], *keyless)) <= REPEAT_S + 1e-6


def test_a_stale_key_that_is_sent_all_the_time_is_locked_out_in_the_end(keys: FailedKeys) -> None:
    assert any(failure_of(keys, "stale").retry_after for _ in range(1 + 10 * POLICY.attempts))


def test_a_stale_key_among_valid_ones_is_never_locked_out_and_guesses_are(keys: FailedKeys) -> None:
    for _ in range(100 * POLICY.attempts):
        assert failure_of(keys, "stale").retry_after is None
        keys.served(ONE)
    failures = []
    for number in range(POLICY.attempts):
        failures.append(failure_of(keys, f"guess-{number}"))
        keys.served(ONE)
    assert failures[-1].retry_after is not None


def test_guesses_that_are_spread_out_lock_nothing_out(time: Time, keys: FailedKeys) -> None:
    for number in range(10 * POLICY.attempts):
        assert failure_of(keys, f"guess-{number}").retry_after is None
        time.now += 4


def test_without_a_policy_nothing_is_slowed_or_locked_out(keys: FailedKeys) -> None:
    assert {failure_of(keys, f"guess-{number}", policy=NO_LOCKOUT) for number in range(1000)} == {Failure()}


def test_memory_and_waiting_answers_are_bounded(time: Time) -> None:
    async def never(seconds: float) -> None:
        assert 0 < seconds <= DELAY_MAX_S
        await asyncio.Event().wait()

    async def waiting(networks: Callable[[int], str], requests: int) -> int:
        keys = FailedKeys(time, never)
        tasks = [
            asyncio.ensure_future(keys.wait(keys.note(networks(number), f"guess-{number}", POLICY)))
            for number in range(requests)
        ]
        await asyncio.sleep(0)
        held = keys.waiting
        at_once = [task for task in tasks if task.done()]
        assert {task.result() for task in at_once[1:]} <= {True, False}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert keys.waiting == 0
        return held

    assert asyncio.run(waiting(lambda number: ONE, 1000)) == WAITING_EACH
    assert asyncio.run(waiting(lambda number: str(number % 100), 2000)) == WAITING
    keys = FailedKeys(time, never)
    for number in range(2 * ADDRESSES):
        keys.note(str(number), "guess", POLICY)
    assert len(keys._addresses) == ADDRESSES


@pytest.fixture
def locking(monkeypatch: pytest.MonkeyPatch) -> Harness:
    """The application with a lock-out after three wrong keys, and without real pauses."""
    monkeypatch.setattr(failed_keys, "GUESS_S", 0.0)
    monkeypatch.setattr(failed_keys, "REPEAT_S", 0.0)
    harness = Harness(proxies=TrustedProxies((parse_network("10.0.0.0/8"),)))
    harness.services = replace(harness.services, lockout=LockoutPolicy(attempts=3))
    return harness


def client_of(harness: Harness, address: str = ONE, forwarded: str = "") -> httpx2.Client:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    return client_on(harness.app, headers, (address, 4711))


def test_a_locked_out_address_gets_429_and_a_valid_key_from_it_is_served(locking: Harness) -> None:
    client = client_of(locking)
    codes = [client.get(CREDENTIALS, headers={"X-API-Key": f"guess-{number}"}).status_code for number in range(5)]
    assert codes == [401, 401, 429, 429, 429]
    assert client.get(CREDENTIALS).status_code == 401, "a request without a key guesses nothing"
    refused = client.get(CREDENTIALS, headers={"X-API-Key": "guess-0"})
    assert (refused.status_code, refused.json()["code"]) == (429, "locked-out")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    for headers in ({"X-API-Key": SUPER_KEY}, {"Authorization": f"Bearer {KEYS[Role.AUDITOR]}"}):
        assert client.get(CREDENTIALS, headers=headers).status_code == 200
    assert client_of(locking, OTHER).get(CREDENTIALS, headers={"X-API-Key": "guess"}).status_code == 401


@pytest.mark.parametrize(
    ("peers", "forwarded", "together"),
    [
        pytest.param(["2001:db8::1", "2001:db8::2", "2001:db8::3"], [""] * 3, True, id="one IPv6 subscriber"),
        pytest.param(["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1"], [""] * 3, False, id="three of them"),
        pytest.param(["10.0.0.1"] * 3, [ONE, OTHER, "192.0.2.9"], False, id="three clients behind a trusted proxy"),
        pytest.param(["10.0.0.1", "10.0.0.2", "10.0.0.3"], [ONE] * 3, True, id="one client behind three proxies"),
        pytest.param([ONE] * 3, ["192.0.2.1", "192.0.2.2", "192.0.2.3"], True, id="one client that claims others"),
    ],
)
def test_failures_belong_to_the_address_that_the_audit_shows(
    locking: Harness, peers: list[str], forwarded: list[str], together: bool
) -> None:
    statuses = [
        client_of(locking, peer, claimed).get(CREDENTIALS, headers={"X-API-Key": f"guess-{number}"}).status_code
        for number, (peer, claimed) in enumerate(zip(peers, forwarded, strict=True))
    ]
    assert statuses == [401, 401, 429 if together else 401]


def test_a_lockout_is_an_event_and_is_measured(locking: Harness) -> None:
    client = client_of(locking)
    for number in range(9):
        client.get(f"{NATIVE}/openai/v1/models", headers={"api-key": f"guess-{number}", "X-Request-ID": "req-9"})
    locking.recorder.flush()
    (event,) = [event for event in locking.log.events if isinstance(event, AddressLockedOut)]
    assert (event.client_address, event.actor, event.count, event.seconds) == (ONE, "anonymous", 1, 60.0)
    refused = [(event.status, event.count) for event in locking.log.events if isinstance(event, RequestRefused)]
    assert sorted(refused) == [(401, 2), (429, 7)]
    metrics = client.get("/metrics").text
    assert 'keyledger_failed_authentications_total{status="401"} 2.0' in metrics
    assert 'keyledger_failed_authentications_total{status="429"} 7.0' in metrics
    assert "keyledger_address_lockouts_total 1.0" in metrics
    assert "keyledger_delayed_answers 0.0" in metrics


def test_an_answer_that_cannot_wait_ends_its_connection(locking: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failed_keys, "GUESS_S", 10.0)
    monkeypatch.setattr(failed_keys, "WAITING", 0)
    client = client_of(locking)
    answers = [client.get(CREDENTIALS, headers={"X-API-Key": f"guess-{number}"}) for number in range(2)]
    assert [answer.headers.get("Connection") for answer in answers] == [None, "close"]
