"""Strangers add a small number of events to the log, however many requests they send, and hide nothing of others."""

import asyncio
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from domain.audit.client_network import common_client, network_of
from domain.audit.request_events import ANONYMOUS, Outcome, RefusedRequest, RequestRefused
from domain.events.event import CommandMeta
from keyledger.log.recorders.audit_recorder import AuditRecorder
from tests.support.each import each
from tests.support.effort import FLOOD
from tests.support.scenario import NOW, TENANT
from tests.support.twins.log import MemoryLog

HOUR = timedelta(hours=1)
MOST = 100
"""Events that strangers may add in an hour."""
ROUTES = [f"/api/v1/route-{number}" for number in range(40)]
PLACE = "/api/v1/sysadmin/tenants/{tenant_id}/credentials/{provider}"

Request = tuple[CommandMeta, RefusedRequest]


def stranger(address: str, status: int = 401, route: str = PLACE, method: str = "GET", tenant: str = TENANT) -> Request:
    code = "unauthenticated" if status == 401 else "locked-out"
    return CommandMeta(ANONYMOUS, "req-9", "", role=ANONYMOUS, source="api", client_address=address), RefusedRequest(
        outcome=Outcome.DENIED, method=method, route=route, status=status, code=code, tenant_id=tenant
    )


def _one_address(number: int, chance: random.Random) -> Request:
    return stranger("192.0.2.7", tenant=str(UUID(int=number)))


def _one_address_everywhere(number: int, chance: random.Random) -> Request:
    status, method = chance.choice([401, 429]), chance.choice(["GET", "PUT", "other"])
    return stranger("192.0.2.7", status, ROUTES[number % 40], method, str(UUID(int=number)))


def _many_addresses(number: int, chance: random.Random) -> Request:
    return stranger(f"198.51.{number // 250 % 250}.{number % 250}", route=ROUTES[number % 40])


def _six_of_one_subscriber(number: int, chance: random.Random) -> Request:
    return stranger(f"2001:db8::{number:x}", tenant=str(UUID(int=number)))


def _six_of_many_subscribers(number: int, chance: random.Random) -> Request:
    return stranger(f"2001:db8:{number % 65536:x}:{number // 65536:x}::1", chance.choice([401, 429]))


FLOODS: list[Callable[[int, random.Random], Request]] = [
    _one_address,
    _one_address_everywhere,
    _many_addresses,
    _six_of_one_subscriber,
    _six_of_many_subscribers,
]


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def insider() -> Iterator[Request]:
    meta = CommandMeta("app1", "req-1", "", role="runtime", source="api", client_address="192.0.2.7")
    for method in ("PUT", "DELETE"):
        yield (
            meta,
            RefusedRequest(
                outcome=Outcome.DENIED, method=method, route=PLACE, status=403, code="forbidden", tenant_id=TENANT
            ),
        )


def most_in_an_hour(events: list[RequestRefused]) -> int:
    times = sorted(event.timestamp for event in events)
    return max(sum(start <= time < start + HOUR for time in times) for start in times)


def flooded(flood: Callable[[int, random.Random], Request], requests: int, hours: float) -> MemoryLog:
    """The log after a flood that is spread over some hours, in whose midst an insider tries two commands."""
    log, clock, chance = MemoryLog(), Clock(), random.Random(4711)
    recorder, ticks = AuditRecorder(log, clock), 200
    for tick in range(ticks):
        for number in range(tick * requests // ticks, (tick + 1) * requests // ticks):
            recorder.refused(*flood(number, chance))
        if tick == ticks // 2:
            for one in insider():
                recorder.refused(*one)
        recorder.flush()
        clock.now += timedelta(hours=hours) / ticks
    asyncio.run(recorder.stop())
    return log


@each("hours", [0.01, 1, 3.5])
@each("flood", FLOODS)
def test_strangers_add_few_events_and_an_insider_is_there_by_name(
    flood: Callable[[int, random.Random], Request], hours: float
) -> None:
    requests = FLOOD if hours == 1 else FLOOD // 10
    log = flooded(flood, requests, hours)
    events = [event for event in log.events if isinstance(event, RequestRefused)]
    strangers = [event for event in events if event.actor == ANONYMOUS]
    assert most_in_an_hour(strangers) <= MOST // 2, "so that two processes stay below the limit"
    assert sum(event.count for event in strangers) == requests, "every one is counted"
    named = [(event.method, event.tenant_id, event.count) for event in events if event.actor == "app1"]
    assert named == [("PUT", TENANT, 1), ("DELETE", TENANT, 1)]


def test_a_record_holds_only_what_its_requests_have_in_common() -> None:
    log, clock = MemoryLog(), Clock()
    recorder = AuditRecorder(log, clock)
    recorder.refused(*stranger("2001:db8::1", method="PUT"))
    recorder.flush()
    for address, method in (("2001:db8::1", "PUT"), ("2001:db8::2", "DELETE")):
        recorder.refused(*stranger(address, method=method, tenant=str(UUID(int=7))))
    asyncio.run(recorder.stop())
    found = [
        (event.client_address, event.method, event.route, event.tenant_id, event.count)
        for event in log.events
        if isinstance(event, RequestRefused)
    ]
    several = ("2001:db8::/64", "several", PLACE, str(UUID(int=7)), 2)
    assert found == [("2001:db8::1", "PUT", PLACE, TENANT, 1), several]


def test_one_address_leaves_room_for_others() -> None:
    log, clock = MemoryLog(), Clock()
    recorder = AuditRecorder(log, clock)
    for route in ROUTES:
        recorder.refused(*stranger("192.0.2.7", route=route))
    recorder.refused(*stranger("192.0.2.8"))
    recorder.flush()
    addresses = [event.client_address for event in log.events if isinstance(event, RequestRefused)]
    assert addresses.count("192.0.2.8") == 1
    assert addresses.count("192.0.2.7") == 5, "four routes, and one record of the others"


NETWORKS = [
    pytest.param(None, "", id="no address"),
    pytest.param("192.0.2.7", "192.0.2.7", id="IPv4"),
    pytest.param("::ffff:192.0.2.7", "192.0.2.7", id="IPv4 in IPv6"),
    pytest.param("64:ff9b::c000:207", "192.0.2.7", id="NAT64"),
    pytest.param("2002:c000:207::1", "192.0.2.7", id="6to4"),
    pytest.param("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", id="IPv6"),
    pytest.param("fe80::1%eth0", "fe80::/64", id="a zone"),
    pytest.param("2001:db8::/64", "2001:db8::/64", id="a network"),
    pytest.param("testclient", "testclient", id="a name"),
]


@pytest.mark.parametrize(("address", "network"), NETWORKS)
def test_an_address_belongs_to_a_network(address: str | None, network: str) -> None:
    assert network_of(address) == network


def test_two_addresses_share_themselves_or_their_network_or_nothing() -> None:
    assert common_client("192.0.2.7", "192.0.2.7") == "192.0.2.7"
    assert common_client("2001:db8::1", "2001:db8::2") == "2001:db8::/64"
    assert common_client("192.0.2.7", "192.0.2.8") is None
    assert common_client(None, "192.0.2.8") is None
