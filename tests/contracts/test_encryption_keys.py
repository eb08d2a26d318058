"""Rotations of the encryption key, as an operator begins and watches them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from domain.errors import ErrorCode
from domain.events.event import CommandMeta
from domain.operations.rotation import EncryptionKeys, KeyState, RotationState
from tests.support.errors import raises
from tests.support.rings import BOTH, fill, now, rotations
from tests.support.store import open_store
from tests.support.twins.encryption_keys import MemoryEncryptionKeys

META = CommandMeta("olga", "req-1", "cmd-1", may_repeat=True)


@dataclass(frozen=True)
class Operated:
    """Two keys with credentials under the previous one. settle: returns once no rotation runs."""

    service: EncryptionKeys
    settle: Callable[[], None]


@pytest.fixture(params=["in memory", "PostgreSQL"])
def operated(request: pytest.FixtureRequest) -> Iterator[Operated]:
    if request.param == "in memory":
        yield Operated(MemoryEncryptionKeys(now), lambda: None)
        return
    url = request.getfixturevalue("database_url")
    fill(url, 2)
    with open_store(url, BOTH) as store:
        service = rotations(store)

        def settle() -> None:
            assert service._thread is not None
            service._thread.join()

        yield Operated(service, settle)


def test_the_primary_key_comes_first(operated: Operated) -> None:
    found = operated.service.keys()
    assert [key.state for key in found] == [KeyState.PRIMARY, KeyState.PREVIOUS]


def test_a_rotation_goes_to_the_primary_key_and_ends(operated: Operated) -> None:
    begun = operated.service.start(META)
    assert (begun.actor, begun.key_id, begun.total) == ("olga", operated.service.keys()[0].key_id, 2)
    operated.settle()
    ended = operated.service.rotation(begun.rotation_id)
    assert (ended.state, ended.counts.done) == (RotationState.COMPLETED, 2)
    assert ended.finished_at is not None


def test_a_command_that_is_sent_again_begins_no_second_rotation(operated: Operated) -> None:
    first = operated.service.start(META)
    operated.settle()
    assert operated.service.start(META).rotation_id == first.rotation_id
    assert [one.rotation_id for one in operated.service.rotations()] == [first.rotation_id]


def test_rotations_are_listed_newest_first(operated: Operated) -> None:
    begun = []
    for number in range(3):
        begun.append(operated.service.start(CommandMeta("olga", "req", f"cmd-{number}")).rotation_id)
        operated.settle()
    assert [one.rotation_id for one in operated.service.rotations()] == begun[::-1]


def test_cancelling_a_rotation_that_ended_changes_nothing(operated: Operated) -> None:
    begun = operated.service.start(META)
    operated.settle()
    assert operated.service.cancel(begun.rotation_id).state is RotationState.COMPLETED
    assert operated.service.rotation(begun.rotation_id).state is RotationState.COMPLETED


def test_a_rotation_that_never_was_is_not_found(operated: Operated) -> None:
    assert list(operated.service.rotations()) == []
    for ask in (operated.service.rotation, operated.service.cancel):
        with raises(ErrorCode.ROTATION_NOT_FOUND):
            ask(str(uuid4()))
