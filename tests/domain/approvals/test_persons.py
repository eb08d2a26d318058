"""Two callers are the same person wherever one of them may have been given what the other presents."""

from datetime import timedelta

import pytest

from domain.access.access_key import AccessTerms
from domain.access.roles import Role
from domain.access.service import AccessKeys, AccessRules
from domain.approvals.persons import Persons
from domain.credentials.commands import Precondition
from domain.errors import CredentialIntegrityError
from domain.events.event import CommandMeta
from tests.support.each import each
from tests.support.scenario import NOW
from tests.support.twins.access_keys import MemoryAccessKeys
from tests.support.twins.log import MemoryLog
from tests.support.twins.proposals import MemoryProposals

ANY = Precondition()
ALICE, BOB, CAROL = "corporate#alice", "corporate#bob", "corporate#carol"
SAME = {
    "the same person, signed in twice": (ALICE, ALICE),
    "a key and itself": ("of-alice", "of-alice"),
    "a key that this person made": (ALICE, "of-alice"),
    "a key that a key of this person made": (ALICE, "made-by-of-alice"),
    "two keys that one person made": ("of-alice", "another-of-alice"),
    "a key of someone else that this person rotated": (ALICE, "of-bob-rotated-by-alice"),
    "a key of the settings and a key that it made": ("super", "of-super"),
    "two keys that one key of the settings made": ("of-super", "another-of-super"),
    "a key that rotated itself and who made it": (ALICE, "rotated-by-itself"),
    "a key that was made again and who made it last": (BOB, "made-again"),
}
OTHERS = {
    "two people": (ALICE, BOB),
    "one person at two issuers": (ALICE, "other#alice"),
    "a person and a key of someone else": (ALICE, "of-bob"),
    "keys of two people": ("of-alice", "of-bob"),
    "a key of the settings and a key of a person": ("super", "of-bob"),
    "two keys of the settings": ("super", "named"),
    "a key that was made again by someone else, and who made it first": (ALICE, "made-again"),
    "a key, and a person who only approved it": (CAROL, "of-bob"),
}


class Stage:
    def __init__(self) -> None:
        self.log = MemoryLog()
        self.listed = MemoryProposals(self.log)
        self.keys = AccessKeys(self.log, MemoryAccessKeys(self.log), lambda: NOW, AccessRules())
        self.persons = Persons(self.log, self.listed)
        for by, name in (
            (ALICE, "of-alice"),
            (ALICE, "another-of-alice"),
            ("of-alice", "made-by-of-alice"),
            (BOB, "of-bob"),
            (BOB, "of-bob-rotated-by-alice"),
            ("super", "of-super"),
            ("super", "another-of-super"),
            (ALICE, "rotated-by-itself"),
            (ALICE, "made-again"),
        ):
            self.make(by, name)
        self.keys.rotate("of-bob-rotated-by-alice", None, self.meta(ALICE), ANY)
        self.keys.rotate("rotated-by-itself", None, self.meta("rotated-by-itself"), ANY)
        self.keys.revoke("made-again", self.meta(ALICE), ANY)
        self.make(BOB, "made-again")

    def make(self, by: str, name: str) -> None:
        self.keys.create(name, Role.SYSADMIN, AccessTerms(), self.meta(by))

    def meta(self, by: str) -> CommandMeta:
        return CommandMeta(by, "req-1", f"command-{len(self.log.events)}")

    def may_be(self, one: str, other: str) -> bool:
        return self.persons.behind(one).may_be(self.persons.behind(other))


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage()


@each("pair", SAME.values(), SAME)
def test_callers_who_may_be_one_person(stage: Stage, pair: tuple[str, str]) -> None:
    one, other = pair
    assert stage.may_be(one, other)
    assert stage.may_be(other, one)


@each("pair", OTHERS.values(), OTHERS)
def test_callers_who_are_two_people(stage: Stage, pair: tuple[str, str]) -> None:
    one, other = pair
    assert not stage.may_be(one, other)
    assert not stage.may_be(other, one)


def test_a_key_of_someone_who_was_erased_may_be_anyones() -> None:
    stage = Stage()
    stage.listed.erased.add(BOB)
    assert stage.may_be("of-bob", ALICE)
    assert not stage.may_be("of-alice", "super")


def test_a_key_whose_newest_event_cannot_be_proved_is_an_integrity_error(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    monkeypatch.setattr(stage.log, "proves", lambda event: False)
    with pytest.raises(CredentialIntegrityError):
        stage.persons.behind("of-alice")
    assert stage.persons.behind(ALICE).names == {ALICE}


def test_a_key_that_was_revoked_is_known_as_such_also_once_another_has_its_name() -> None:
    stage = Stage()
    then = stage.log.events[-1].timestamp
    later = then + timedelta(seconds=1)
    assert not stage.persons.was_revoked_since("of-bob", then)
    stage.keys.revoke("of-bob", stage.meta(BOB), ANY)
    assert stage.persons.was_revoked_since("of-bob", then)
    stage.make(CAROL, "of-bob")
    assert stage.persons.was_revoked_since("of-bob", then)
    assert not stage.persons.was_revoked_since("of-bob", later)
    assert not stage.persons.was_revoked_since("of-alice", then)
    assert not stage.persons.was_revoked_since(ALICE, then)
