"""The life of an access key: made, changed, rotated, revoked, each command once."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.access.access_key import (
    OVERLAP_MAX,
    AccessKey,
    AccessKeyChanged,
    AccessKeyCreated,
    AccessKeyEvent,
    AccessKeyRevoked,
    AccessKeyRotated,
    AccessTerms,
)
from domain.access.key_limits import KeyLimits
from domain.access.roles import Role
from domain.access.scope import Scope
from domain.access.service import AccessKeys, AccessRules, Issued
from domain.access.token import digest_of
from domain.credentials.commands import Precondition
from domain.credentials.secret import Secret
from domain.errors import (
    ConflictError,
    ErrorCode,
    InvalidRequestError,
    NotFoundError,
    ServiceError,
    VersionConflictError,
)
from tests.support.errors import raises
from tests.support.scenario import NOW, TENANT, meta
from tests.support.twins.access_keys import MemoryAccessKeys
from tests.support.twins.log import MemoryLog

ANY = Precondition()
TERMS = AccessTerms(Scope(tenants=(TENANT,)), KeyLimits(60, 2), NOW + timedelta(days=30))


class Ledger:
    """A log in memory, with the commands on it."""

    def __init__(self, rules: AccessRules = AccessRules()) -> None:
        self.log = MemoryLog()
        self.now = NOW
        self.keys = AccessKeys(self.log, MemoryAccessKeys(self.log), lambda: self.now, rules)

    def made(self, name: str = "app", role: Role = Role.RUNTIME, terms: AccessTerms = TERMS) -> Issued:
        return self.keys.create(name, role, terms, meta(f"create-{name}-{len(self.log.events)}"))

    @property
    def kinds(self) -> list[type]:
        return [type(event) for event in self.log.events]


def of(issued: Issued) -> str:
    assert issued.token is not None
    return digest_of(issued.token.reveal().encode())


def test_a_key_is_made_changed_rotated_and_revoked() -> None:
    ledger = Ledger()
    made = ledger.made()
    changed = ledger.keys.change("app", replace(TERMS, expires_at=None), meta("c-2"), ANY)
    turned = ledger.keys.rotate("app", NOW + timedelta(hours=1), meta("c-3"), ANY)
    revoked = ledger.keys.revoke("app", meta("c-4"), ANY)
    assert ledger.kinds == [AccessKeyCreated, AccessKeyChanged, AccessKeyRotated, AccessKeyRevoked]
    assert [one.version for one in (made.key, changed.key, turned.key, revoked.key)] == [1, 2, 3, 4]
    assert changed.token is None
    assert (turned.key.digest, turned.key.previous) == (of(turned), of(made))
    assert revoked.key.revoked


def test_no_event_holds_a_token() -> None:
    ledger = Ledger()
    tokens = [ledger.made().token, ledger.keys.rotate("app", None, meta("c-2"), ANY).token]
    for token in tokens:
        assert token is not None
        assert token.reveal() not in repr(ledger.log.events)
        assert token.reveal()[4:40] not in repr(ledger.log.events)


def test_the_former_token_is_admitted_until_the_time_that_was_named() -> None:
    ledger = Ledger()
    old, until = of(ledger.made()), NOW + timedelta(hours=1)
    turned = ledger.keys.rotate("app", until, meta("c-2"), ANY)
    assert turned.key.admits(of(turned), NOW)
    assert turned.key.admits(old, until - timedelta(seconds=1))
    assert not turned.key.admits(old, until)
    at_once = ledger.keys.rotate("app", None, meta("c-3"), ANY).key
    assert not at_once.admits(of(turned), NOW)
    assert not at_once.admits(old, NOW)


def test_a_name_is_free_again_once_its_key_is_revoked() -> None:
    ledger = Ledger()
    first = ledger.made()
    with raises(ErrorCode.ACCESS_KEY_EXISTS, match="exists"):
        ledger.made()
    ledger.keys.revoke("app", meta("c-3"), ANY)
    again = ledger.made()
    assert (again.key.version, again.key.previous) == (3, None)
    assert not again.key.admits(of(first), NOW)


@pytest.mark.parametrize("command", ["change", "rotate", "revoke"])
@pytest.mark.parametrize("name", ["nobody", "revoked", "5b7d2e90-43f1-5a6c-8e27-1c90d4a7b6f3"])
def test_a_key_that_is_not_in_use_is_not_found(command: str, name: str) -> None:
    ledger = Ledger()
    ledger.made("revoked")
    ledger.keys.revoke("revoked", meta("c-2"), ANY)
    with pytest.raises(NotFoundError):
        {
            "change": lambda: ledger.keys.change(name, TERMS, meta("c-3"), ANY),
            "rotate": lambda: ledger.keys.rotate(name, None, meta("c-3"), ANY),
            "revoke": lambda: ledger.keys.revoke(name, meta("c-3"), ANY),
        }[command]()


def test_a_key_is_known_by_its_id_too() -> None:
    ledger = Ledger()
    made = ledger.made()
    assert ledger.keys.named(made.key.key_id) == ledger.keys.named("app") == made.key
    assert ledger.keys.revoke(made.key.key_id, meta("c-2"), ANY).key.revoked


@pytest.mark.parametrize("name", ["", "-app", "a b", "x" * 65, "super", "5b7d2e90-43f1-5a6c-8e27-1c90d4a7b6f3"])
def test_a_name_that_the_audit_could_not_show_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        Ledger(AccessRules(reserved={"super"})).made(name)
    assert [one.field for one in refused.value.fields] == ["name"]


def test_a_token_as_a_name_is_refused() -> None:
    ledger = Ledger()
    token = ledger.made().token
    assert token is not None
    with pytest.raises(InvalidRequestError, match="must not be an API key"):
        ledger.made(token.reveal())


@pytest.mark.parametrize(
    ("role", "expires_at", "refused"),
    [
        (Role.RUNTIME, None, True),
        (Role.RUNTIME, NOW + timedelta(days=31), True),
        (Role.RUNTIME, NOW + timedelta(days=30), False),
        (Role.AUDITOR, None, False),
    ],
)
def test_runtime_keys_expire_where_the_operator_says_so(role: Role, expires_at: datetime | None, refused: bool) -> None:
    ledger = Ledger(AccessRules(max_age=timedelta(days=30)))
    terms = AccessTerms(expires_at=expires_at)
    if refused:
        with pytest.raises(InvalidRequestError, match="ACCESS_KEY_MAX_AGE"):
            ledger.made(role=role, terms=terms)
    else:
        assert ledger.made(role=role, terms=terms).key.terms == terms


@pytest.mark.parametrize("until", [NOW, NOW - timedelta(days=1), NOW + OVERLAP_MAX + timedelta(seconds=1)])
def test_an_overlap_ends_in_the_future_but_not_too_far(until: datetime) -> None:
    ledger = Ledger()
    ledger.made()
    with pytest.raises(InvalidRequestError) as refused:
        ledger.keys.rotate("app", until, meta("c-2"), ANY)
    assert [one.field for one in refused.value.fields] == ["old_token_until"]


def test_a_change_that_changes_nothing_makes_no_event() -> None:
    ledger = Ledger()
    made = ledger.made()
    assert ledger.keys.change("app", TERMS, meta("c-2"), ANY).key == made.key
    assert ledger.kinds == [AccessKeyCreated]


@pytest.mark.parametrize(
    ("precondition", "holds"),
    [
        (Precondition(versions=frozenset({1})), True),
        (Precondition(versions=frozenset({2})), False),
        (Precondition(exists=True), True),
        (Precondition(exists=False), False),
    ],
)
def test_a_precondition_is_about_the_version_of_the_key(precondition: Precondition, holds: bool) -> None:
    ledger = Ledger()
    ledger.made()
    if holds:
        assert ledger.keys.revoke("app", meta("c-2"), precondition).key.revoked
    else:
        with pytest.raises(VersionConflictError, match="The access key is at version 1"):
            ledger.keys.revoke("app", meta("c-2"), precondition)


def test_a_repeated_command_takes_effect_once_and_shows_no_token_again() -> None:
    ledger = Ledger()
    sent = meta("once", may_repeat=True)
    first = ledger.keys.create("app", Role.RUNTIME, TERMS, sent)
    again = ledger.keys.create("app", Role.RUNTIME, TERMS, sent)
    assert (again.key, again.token) == (first.key, None)
    with raises(ErrorCode.IDEMPOTENCY_KEY_REUSED, match="different request"):
        ledger.keys.create("app", Role.AUDITOR, AccessTerms(), sent)
    with raises(ErrorCode.IDEMPOTENCY_KEY_REUSED, match="different request"):
        ledger.keys.revoke("app", sent, ANY)
    assert ledger.kinds == [AccessKeyCreated]


@pytest.mark.parametrize("fault", ["outage after the effect", "conflict after the effect", "outage before the effect"])
def test_an_answer_of_the_database_that_was_lost_costs_neither_the_key_nor_its_token(fault: str) -> None:
    ledger = Ledger()
    ledger.log.errors = [fault]
    issued = ledger.made()
    assert issued.token is not None
    assert issued.key.admits(of(issued), NOW)
    assert ledger.kinds == [AccessKeyCreated]


def test_two_nodes_never_make_two_keys_of_one_name() -> None:
    ledger, other = Ledger(), Ledger()
    other.keys.create("app", Role.RUNTIME, TERMS, meta("of another node"))
    ledger.log.interlopers = list(other.log.events)
    with pytest.raises(ConflictError):
        ledger.made()
    assert len(ledger.log.events) == 1


def test_a_leaked_token_leads_to_its_key() -> None:
    ledger = Ledger()
    old = ledger.made().token
    assert old is not None
    ledger.keys.rotate("app", NOW + timedelta(hours=1), meta("c-2"), ANY)
    assert ledger.keys.name_of(old) == "app"
    with pytest.raises(NotFoundError):
        ledger.keys.name_of(Secret("klk_unknown"))


class Lives(RuleBasedStateMachine):
    """Any commands in any order: the state is that of a plain model, and the log is its only source."""

    NAMES = st.sampled_from(["a", "b"])

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.model: dict[str, set[str]] = {}
        self.sent = 0

    def _meta(self):
        self.sent += 1
        return meta(f"c-{self.sent}")

    @rule(name=NAMES)
    def create(self, name: str) -> None:
        try:
            issued = self.ledger.keys.create(name, Role.RUNTIME, AccessTerms(), self._meta())
        except ServiceError:
            assert name in self.model
        else:
            assert name not in self.model
            self.model[name] = {of(issued)}

    @rule(name=NAMES, overlap=st.booleans())
    def rotate(self, name: str, overlap: bool) -> None:
        until = self.ledger.now + timedelta(hours=1) if overlap else None
        before = self.ledger.keys.named(name).digest if name in self.model else ""
        try:
            issued = self.ledger.keys.rotate(name, until, self._meta(), ANY)
        except ServiceError:
            assert name not in self.model
        else:
            self.model[name] = {of(issued), before} if overlap else {of(issued)}

    @rule(name=NAMES)
    def revoke(self, name: str) -> None:
        try:
            self.ledger.keys.revoke(name, self._meta(), ANY)
        except ServiceError:
            assert name not in self.model
        else:
            del self.model[name]

    @invariant()
    def admits_what_the_model_admits(self) -> None:
        digests = {event.token_sha256 for event in self.ledger.log.events if isinstance(event, AccessKeyEvent)}
        for name in ("a", "b"):
            found: AccessKey | None = next((one for one in self.ledger.keys.page("", 9) if one.name == name), None)
            admitted = set()
            if found is not None and not found.revoked:
                admitted = {one for one in digests if found.admits(one, self.ledger.now)}
            assert admitted == self.model.get(name, set())


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
