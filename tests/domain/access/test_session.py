"""A session admits requests while its newest event says so, and the rule that began it is in force."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from domain.access.access_key import AccessTerms
from domain.access.identity import Claim, Condition, IdentityRule, Vouched, identity_of
from domain.access.key_limits import KeyLimits
from domain.access.roles import Role
from domain.access.scope import Scope
from domain.access.session import (
    SessionEvent,
    SessionReader,
    by_digest,
    sign_in,
    sign_out,
    stream_of_session,
)
from domain.credentials.admission import TokenRow
from domain.errors import AccessError, CredentialIntegrityError, ErrorCode
from domain.event_codec import encode, event_of
from domain.events.event_code import CodeKey, EventCodes, LogRow
from tests.support.scenario import NOW, TENANT, meta
from tests.support.twins.access_keys import CODES

SESSION = "0c7f1a52-5a1e-4a51-9a8c-6d1f6f5b7c11"
ACTOR = "https://issuer.example#ada"
ENDS = NOW + timedelta(hours=8)
RULE = IdentityRule(
    (Condition(Claim(("sub",)), ("ada",)),),
    Role.AUDITOR,
    Scope(providers=("openai",)),
    KeyLimits(7, 0),
    Claim(("tenants",)),
)
FORGED = EventCodes(CODES.ledger_id, [CodeKey("k0000000009", b"9" * 32)])
BEGUN = sign_in(
    SESSION,
    "Ada",
    identity_of(Vouched("https://issuer.example", ACTOR, {"sub": "ada", "tenants": TENANT}), [RULE], ENDS),
    (RULE,),
    ENDS,
    meta("c-1"),
    NOW,
)
ENDED = sign_out(SESSION, BEGUN, meta("c-2"), NOW)


def row(event: SessionEvent, codes: EventCodes | None = CODES) -> TokenRow:
    place = (event.originator_id, event.originator_version, event.TOPIC, encode(event))
    code = codes.code(*place) if codes is not None else None
    head = LogRow(1, *place, code.key_id if code else None, code.mac if code else None)
    return TokenRow(event.originator_version, SESSION, None, head)


def read(found: TokenRow | None, now: datetime = NOW, rules: Sequence[IdentityRule] = (RULE,)) -> object:
    reader = SessionReader(lambda: CODES, event_of, lambda: now)
    return reader.session_of(SESSION, ACTOR, found, by_digest(rules))


def test_a_session_has_what_its_rule_gives_and_the_tenants_that_the_claim_named() -> None:
    session = read(row(BEGUN))
    scope = Scope(tenants=(TENANT,), providers=("openai",))
    assert (session.name, session.role) == (ACTOR, Role.AUDITOR)  # type: ignore[attr-defined]
    assert session.terms == AccessTerms(scope, KeyLimits(7, 0), ENDS)  # type: ignore[attr-defined]


def test_rules_after_its_own_do_not_end_a_session() -> None:
    assert read(row(BEGUN), rules=[RULE, replace(RULE, role=None)]) == read(row(BEGUN))


def test_a_session_that_ended_admits_nothing() -> None:
    assert ENDED is not None
    other, refusing = replace(RULE, role=Role.SYSADMIN), replace(RULE, role=None)
    for name, found, now, rules in (
        ("signed out", row(ENDED), NOW, [RULE]),
        ("expired", row(BEGUN), ENDS, [RULE]),
        ("never begun", None, NOW, [RULE]),
        ("no event", TokenRow(1, SESSION, None, None), NOW, [RULE]),
        ("its rule is gone", row(BEGUN), NOW, []),
        ("its rule has changed", row(BEGUN), NOW, [other]),
        ("a rule before it refuses", row(BEGUN), NOW, [refusing, RULE]),
    ):
        with pytest.raises(AccessError) as refused:
            read(found, now, rules)
        assert refused.value.code == ErrorCode.SESSION_ENDED, name


def test_an_event_that_no_holder_of_the_ledgers_keys_wrote_admits_nothing() -> None:
    for found in (row(BEGUN, FORGED), row(BEGUN, None), row(replace(BEGUN, session="x"))):
        with pytest.raises(CredentialIntegrityError):
            read(found)


def test_signing_out_twice_is_one_event() -> None:
    assert ENDED is not None
    assert (ENDED.originator_id, ENDED.originator_version) == (stream_of_session(SESSION), 2)
    assert sign_out(SESSION, ENDED, meta("c-3"), NOW) is None
    assert sign_out(SESSION, None, meta("c-3"), NOW) is None
