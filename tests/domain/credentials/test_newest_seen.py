"""A process never takes back what it has seen of a credential, whichever of several reads ends first."""

from uuid import UUID

import pytest

from domain.credentials.newest_seen import Moment, NewestSeen, Seen
from domain.credentials.stored import Head
from domain.errors import CredentialIntegrityError
from domain.events.event_code import LogRow

PLACE = ("tenant", "openai")


def head(version: int, state: bytes = b"state") -> Head:
    return Head(version, "CredentialSet", LogRow(7, UUID(int=1), version, "CredentialSet", state, None, None))


WENT_BACK = {
    "to an older event": head(1),
    "to another event of the same version": head(2, b"another"),
    "to no event at all": None,
}


@pytest.mark.parametrize("found", [pytest.param(found, id=name) for name, found in WENT_BACK.items()])
def test_a_stream_that_went_back_is_an_error_until_it_is_whole_again(found: Head | None) -> None:
    seen = NewestSeen()
    for version in (1, 2, 2):
        seen.note(PLACE, seen.of(PLACE), head(version))
    for _ in range(2):
        with pytest.raises(CredentialIntegrityError, match="log-went-back"):
            seen.note(PLACE, seen.of(PLACE), found)
    seen.note(PLACE, seen.of(PLACE), head(2))


def test_a_read_that_began_before_a_change_may_end_after_one_that_saw_it() -> None:
    seen = NewestSeen()
    seen.note(PLACE, seen.of(PLACE), head(1))
    slow, fast = seen.of(PLACE), seen.of(PLACE)
    seen.note(PLACE, fast, head(2))
    seen.note(PLACE, slow, head(1))
    with pytest.raises(CredentialIntegrityError):
        seen.note(PLACE, seen.of(PLACE), head(1))


def test_what_was_seen_longest_ago_is_forgotten_and_tenants_without_a_credential_are_not_kept() -> None:
    seen = NewestSeen(2)
    for tenant in "abc":
        seen.note((tenant, "openai"), None, head(1))
        seen.note((tenant, "azure"), None, None)
    assert [seen.of((tenant, "openai")) is not None for tenant in "abc"] == [False, True, True]
    assert seen.of(("c", "azure")) is None


class Promoting:
    """Servers of which the second may have taken back what the first showed after a time."""

    def __init__(self) -> None:
        self.now = Moment("1", 0.0)
        self.confirmed = 10.0

    def moment(self) -> Moment:
        return self.now

    def may_have_taken_back(self, seen: Moment) -> bool:
        return self.now.epoch != seen.epoch and seen.at > self.confirmed


@pytest.mark.parametrize(("at", "kept"), [(10.0, True), (10.1, False)], ids=["confirmed", "not confirmed"])
def test_what_was_seen_before_it_was_confirmed_is_forgotten_after_a_promotion(at: float, *, kept: bool) -> None:
    servers = Promoting()
    seen = NewestSeen(servers=servers)
    servers.now = Moment("1", at)
    seen.note(PLACE, None, head(2))
    assert seen.of(PLACE) is not None
    servers.now = Moment("2", 20.0)
    assert (seen.of(PLACE) is not None) is kept


@pytest.mark.parametrize("found", [head(1), None], ids=["an older event", "no event"])
def test_a_promotion_during_a_read_may_take_back_what_was_seen_before_it(found: Head | None) -> None:
    servers = Promoting()
    seen = NewestSeen(servers=servers)
    servers.now = Moment("1", 11.0)
    seen.note(PLACE, None, head(2))
    before = seen.of(PLACE)
    servers.now = Moment("2", 12.0)
    seen.note(PLACE, before, found)
    assert seen.of(PLACE) == (None if found is None else Seen(1, hash(found.row)))
