"""Replays of projections, as an operator begins and watches them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from domain.errors import ErrorCode
from domain.events.event import CommandMeta
from domain.operations.replay import Difference, Projections, ReplayState, Swap
from keyledger.replay.replay_service import ReplayService
from tests.support.errors import raises
from tests.support.scenario import TENANT
from tests.support.store import open_store
from tests.support.twins.projections import MemoryProjections

META = CommandMeta("olga", "req-1", "cmd-1", may_repeat=True)
NAMES = ["current_credentials", "access_keys", "tenants", "audit_trail", "transparency_log"]


@dataclass(frozen=True)
class Operated:
    """damage: makes one row of the current credentials differ from the log. settle: returns once no replay runs."""

    projections: Projections
    damage: Callable[[], None]
    settle: Callable[[], None]


@pytest.fixture(params=["in memory", "PostgreSQL"])
def operated(request: pytest.FixtureRequest) -> Iterator[Operated]:
    def now() -> datetime:
        return datetime.now(UTC)

    if request.param == "in memory":
        twin = MemoryProjections(now)

        def find() -> None:
            twin.differences = (Difference("changed", TENANT, "openai"),)

        yield Operated(twin, find, lambda: None)
        return
    with open_store(request.getfixturevalue("database_url")) as store:
        store.set(TENANT, "openai", "sk-one-0123456789")
        service = ReplayService(store.pool, store.url, store.log, now)

        def damage() -> None:
            with store.superuser() as database:
                database.execute("UPDATE current_credentials SET endpoint = 'https://other.example.com'")

        def settle() -> None:
            assert service._thread is not None
            service._thread.join()

        yield Operated(service, damage, settle)


def test_every_projection_is_listed_no_further_than_the_log(operated: Operated) -> None:
    found = operated.projections.list()
    assert [one.name for one in found] == NAMES
    assert all(one.position <= one.head and one.stopped is None for one in found)


@pytest.mark.parametrize("name", NAMES)
def test_a_replay_of_it_ends_with_what_it_found(operated: Operated, name: str) -> None:
    begun = operated.projections.start(name, Swap.IF_EQUAL, META)
    assert (begun.projection, begun.actor, begun.swap) == (name, "olga", Swap.IF_EQUAL)
    operated.settle()
    ended = operated.projections.replay(name, begun.replay_id)
    assert (ended.state, ended.failure, ended.done) == (ReplayState.COMPLETED, None, ended.total)
    assert ended.result is not None
    assert (ended.result.difference_count, ended.result.differences, ended.result.swapped) == (0, (), True)


SWAPS = [
    pytest.param(Swap.IF_EQUAL, False, id="not if they have to be equal"),
    pytest.param(Swap.NEVER, False, id="never"),
    pytest.param(Swap.ALWAYS, True, id="always"),
]


@pytest.mark.parametrize(("swap", "swapped"), SWAPS)
def test_a_copy_that_differs_takes_the_place(operated: Operated, swap: Swap, swapped: bool) -> None:
    operated.damage()
    begun = operated.projections.start("current_credentials", swap, META)
    operated.settle()
    result = operated.projections.replay("current_credentials", begun.replay_id).result
    assert result is not None
    assert (result.differences, result.swapped) == ((Difference("changed", TENANT, "openai"),), swapped)


def test_a_command_that_is_sent_again_begins_no_second_replay(operated: Operated) -> None:
    first = operated.projections.start("audit_trail", Swap.NEVER, META)
    operated.settle()
    assert operated.projections.start("audit_trail", Swap.NEVER, META).replay_id == first.replay_id


def test_what_is_not_there_is_not_found(operated: Operated) -> None:
    begun = operated.projections.start("audit_trail", Swap.NEVER, META)
    operated.settle()
    with raises(ErrorCode.REPLAY_NOT_FOUND):
        operated.projections.replay("current_credentials", begun.replay_id)
    with raises(ErrorCode.REPLAY_NOT_FOUND):
        operated.projections.replay("audit_trail", str(uuid4()))
    with raises(ErrorCode.UNKNOWN_PROJECTION):
        operated.projections.replay("nothing", begun.replay_id)
    with raises(ErrorCode.UNKNOWN_PROJECTION):
        operated.projections.start("nothing", Swap.NEVER, META)
