"""Events as stored bytes: the same for ever, and refused when they are not what they seem."""

import json
from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import event_codec
from domain.access.access_key import AccessKeyEvent, AccessTerms, change, create, evolve, revoke, rotate
from domain.access.identity import Claim, Condition, IdentityRule, Vouched, identity_of
from domain.access.key_limits import KeyLimits
from domain.access.roles import Role
from domain.access.scope import Scope
from domain.access.session import PersonSignedIn, PersonSignedOut, sign_in, sign_out
from domain.approvals.needs import Approval
from domain.approvals.proposal import approve, lapse, propose, reject
from domain.approvals.proposal import evolve as proposal_after
from domain.approvals.setting import change_approvals
from domain.audit.event_catalogue import BY_TOPIC, EVENTS
from domain.audit.request_events import (
    Lockout,
    Outcome,
    RefusedRequest,
    address_locked_out,
    audit_exported,
    audit_read,
    request_refused,
)
from domain.credentials.acceptance import accept_or_reject
from domain.credentials.credential import CredentialSet, stream_id
from domain.credentials.providers import CredentialConfig
from domain.errors import CredentialIntegrityError, StoreUnavailableError
from domain.event_codec import decode, encode
from domain.events.event import Event
from domain.events.event_definition import FIRST_FORM, MembersChange
from domain.operations.attestation import attest_log
from domain.operations.encryption_keys import Keys, RotationCounts, complete_rotation, introduce, retire, start_rotation
from domain.operations.erasure import erase_person, expire
from domain.operations.ledger_secret import Sealings, seal_for
from domain.operations.policy import change_policy
from domain.operations.replay import projection_replayed
from domain.operations.restore import accept_restore
from domain.tenants.policy import TenantPolicy
from domain.tenants.tenant import Profile, Tenant, TenantEvent, freeze, register, thaw
from domain.tenants.tenant import change_policy as change_tenant_policy
from tests.support.each import each
from tests.support.people import PERSON, sealed
from tests.support.places import GOLDEN
from tests.support.scenario import NOW, TENANT, meta, was_deleted, was_reencrypted, was_set

STORED = GOLDEN / "events"
AZURE = CredentialConfig("https://res.openai.azure.com", "2024-10-21", "gpt-4o")
WHENCE: dict[str, Any] = {
    "role": "sysadmin",
    "source": "api",
    "client_address": "192.0.2.7",
    "reason": "ticket 4711",
    "causation_id": "cause-1",
}
WHO = replace(meta(), **WHENCE)
BEGUN = start_rotation(Keys(1), "0b6ad4d4-7a3c-4f5e-9c2f-0a8f6a1f4b10", "k0000000002", 42, WHO, NOW)
NARROW = Scope(
    (TENANT,),
    ("mistral", "openai"),
    None,
    ("native",),
    ("GET:v1/files/*", "POST:v1/**"),
    ("192.0.2.0/24",),
)
CREATED = create(
    None,
    "app",
    Role.RUNTIME,
    AccessTerms(NARROW, KeyLimits(60, 2, 100_000, Decimal("250.00")), NOW + timedelta(days=30)),
    "a" * 64,
    WHO,
    NOW,
)
KEY_OF_APP = evolve(CREATED)


def _accepted(*, rejected: bool) -> Event:
    before = accept_or_reject(None, TENANT, "openai", 3, rejected=True, meta=WHO, now=NOW)
    event = accept_or_reject(None if rejected else before, TENANT, "openai", 3, rejected=rejected, meta=WHO, now=NOW)
    assert event is not None
    return event


def _changed() -> Event:
    event = change(KEY_OF_APP, replace(KEY_OF_APP.terms, scope=Scope()), WHO, NOW)
    assert event is not None
    return event


def _approvals() -> Event:
    event = change_approvals(None, set(Approval), WHO, NOW)
    assert event is not None
    return event


def _policy() -> Event:
    event = change_policy(None, tenant_credentials=True, global_fallback="deny", meta=WHO, now=NOW)
    assert event is not None
    return event


def _of_tenant(event: TenantEvent | None) -> Event:
    assert event is not None
    return event


_OF_CREDENTIALS = [
    ("credential_set_v1", was_set(1)),
    ("credential_set_azure_v1", was_set(7, "sk-azure-key-0001", AZURE)),
    ("credential_deleted_v1", was_deleted(2)),
    ("credential_reencrypted_v1", was_reencrypted(8)),
]


def _signed_in() -> PersonSignedIn:
    rule = IdentityRule((Condition(Claim(("sub",)), ("ada",)),), Role.AUDITOR, tenants_from=Claim(("tenants",)))
    vouched = Vouched("https://issuer.example", "https://issuer.example#ada", {"sub": "ada", "tenants": [TENANT]})
    identity = identity_of(vouched, [rule], NOW)
    session = "0c7f1a52-5a1e-4a51-9a8c-6d1f6f5b7c11"
    return sign_in(session, "Ada Lovelace", identity, [rule], NOW + timedelta(hours=8), WHO, NOW)


SIGNED_IN = _signed_in()


def _signed_out() -> PersonSignedOut:
    event = sign_out(SIGNED_IN.session, SIGNED_IN, WHO, NOW)
    assert event is not None
    return event


PROPOSED = propose(CREATED, "access-keys", WHO, NOW, NOW + timedelta(hours=24))
OPEN = proposal_after(PROPOSED)


IN_CLEAR: dict[str, Event] = {name: replace(event, **WHENCE) for name, event in _OF_CREDENTIALS} | {
    "encryption_key_introduced_v1": introduce(Keys(), ["k0000000001"], WHO, NOW)[0],
    "key_rotation_started_v1": BEGUN,
    "key_rotation_completed_v1": complete_rotation(Keys(2), BEGUN, RotationCounts(40, 1, 1), WHO, NOW),
    "encryption_key_retired_v1": retire(Keys(3, {"k0000000001": NOW}), "k0000000001", 12, WHO, NOW),
    "ledger_secret_sealed_v1": seal_for(
        Sealings(4), "s0123456789", [("k0000000001", "c2VhbGVk")], replace(WHO, role="service"), NOW
    )[0],
    "restore_accepted_v1": accept_restore(None, 120, 100, "5ec1e1ed-9e7a-4b0c-8d2f-0a1b2c3d4e5f", WHO, NOW),
    "log_attested_v1": attest_log(None, 120, bytes(32), WHO, NOW, [7, 11], ["k0000000001"]),
    "person_erased_v1": erase_person(None, "tenant", PERSON, 3, TENANT, WHO, NOW),
    "personal_data_expired_v1": expire(None, NOW.date(), 3, WHO, NOW),
    "request_refused_v1": request_refused(
        WHO,
        NOW,
        RefusedRequest(
            outcome=Outcome.DENIED,
            method="PUT",
            route="/api/v1/sysadmin/tenants/{tenant_id}/credentials/{provider}",
            status=403,
            code="forbidden",
            tenant_id=TENANT,
            provider="openai",
        ),
        3,
    ),
    "address_locked_out_v1": address_locked_out(WHO, NOW, Lockout(seconds=60.0), 2),
    "audit_read_v1": audit_read(WHO, NOW, "entries", f"tenant:{TENANT} actor:bruno", 2),
    "audit_exported_v1": audit_exported(WHO, NOW, "csv", None),
    "credential_rejected_v1": _accepted(rejected=True),
    "credential_recovered_v1": _accepted(rejected=False),
    "projection_replayed_v1": projection_replayed(
        WHO, NOW, "audit_trail", swapped=True, replayed_to=9, rows=9, differences=1
    ),
    "policy_changed_v1": _policy(),
    "access_key_created_v2": CREATED,
    "access_key_changed_v2": _changed(),
    "access_key_rotated_v2": rotate(KEY_OF_APP, "b" * 64, NOW + timedelta(hours=1), WHO, NOW),
    "access_key_revoked_v2": revoke(KEY_OF_APP, WHO, NOW),
    "tenant_registered_v1": _of_tenant(register(Tenant(TENANT), None, Profile("Acme", {"plan": "gold"}), WHO, NOW)),
    "tenant_policy_changed_v1": _of_tenant(
        change_tenant_policy(
            Tenant(TENANT, 1, registered=True), TenantPolicy(("mistral", "openai"), False, False, True), WHO, NOW
        )
    ),
    "tenant_frozen_v1": _of_tenant(freeze(Tenant(TENANT, 2), WHO, NOW)),
    "tenant_thawed_v1": _of_tenant(thaw(Tenant(TENANT, 3, frozen_at=NOW), WHO, NOW)),
    "approvals_changed_v1": _approvals(),
    "proposal_made_v1": PROPOSED,
    "proposal_approved_v1": approve(OPEN, WHO, NOW),
    "proposal_rejected_v1": reject(OPEN, WHO, NOW),
    "proposal_lapsed_v1": lapse(OPEN, "changed", WHO, NOW),
    "person_signed_in_v1": SIGNED_IN,
    "person_signed_out_v1": _signed_out(),
}
"""Every event as its author makes it."""
SAMPLES: dict[str, Event] = {name: sealed(event) for name, event in IN_CLEAR.items()}
"""Every event as the log stores it."""


@each("name", SAMPLES)
def test_the_bytes_of_a_released_event_never_change(name: str) -> None:
    assert encode(SAMPLES[name]) == (STORED / f"{name}.json").read_bytes().rstrip(b"\n")


@each("name", SAMPLES)
def test_the_present_bytes_of_an_event_without_numbers_take_the_short_way(name: str) -> None:
    event = SAMPLES[name]
    plan = event_codec._PLANS[event.TOPIC]
    numbers = {int, float} & {type(getattr(event, field.name)) for field in fields(event)[2:]}
    assert (plan.canonical is None) == bool(numbers)
    assert plan.canonical is None or plan.canonical(encode(event).decode())


@each(("name", "event"), SAMPLES.items())
def test_a_released_event_reads_back(name: str, event: Event) -> None:
    stored = (STORED / f"{name}.json").read_bytes()
    assert decode(event.originator_id, event.originator_version, event.TOPIC, stored) == event


@each("name", ["created", "changed", "rotated", "revoked"])
def test_an_access_keys_event_from_before_there_were_budgets_has_none(name: str) -> None:
    now = SAMPLES[f"access_key_{name}_v2"]
    stored = (STORED / f"access_key_{name}_v1.json").read_bytes()
    before = decode(now.originator_id, now.originator_version, now.TOPIC, stored)
    assert isinstance(now, AccessKeyEvent)
    assert before == replace(now, tokens_per_day=0, spend_per_month=None)


def test_every_topic_has_a_golden_file() -> None:
    assert {event.TOPIC for event in SAMPLES.values()} == set(BY_TOPIC)


def test_an_event_that_is_read_is_whole_though_its_constructor_was_not_called() -> None:
    for kind in EVENTS:
        assert not hasattr(kind, "__post_init__"), "it would not run"
        assert all(type(getattr(kind, field.name)).__name__ == "member_descriptor" for field in fields(kind))


class Checked(event_codec._Plan):
    """Reads canonical bytes as it reads all others: parsed, and checked one by one."""

    def __init__(self, event: type[Event]) -> None:
        super().__init__(event)
        self.canonical = None


PARSED = {topic: Checked(event) for topic, event in BY_TOPIC.items()}


def outcome(topic: str, state: bytes) -> Event | str:
    try:
        return decode(stream_id(TENANT, "openai"), 1, topic, state)
    except CredentialIntegrityError as refused:
        return refused.reason


CANONICAL = encode(was_set(1, "sk-azure-key-0001", AZURE))
PIECES = st.one_of(
    st.binary(max_size=3),
    st.sampled_from(
        [b'"', b'""', b"null", b"\\n", b"\\", b"\x00", b"\x1f", b"\x7f", b" ", b",", b"1", b"[]", b"\xed\xa0\x80"]
    ),
)


@given(st.integers(0, len(CANONICAL)), st.integers(0, 40), PIECES)
def test_the_short_way_reads_what_the_long_way_reads_and_refuses_what_it_refuses(
    at: int, taken: int, put: bytes
) -> None:
    state = CANONICAL[:at] + put + CANONICAL[at + taken :]
    short = outcome("CredentialSet", state)
    with mock.patch.object(event_codec, "_PLANS", PARSED):
        assert outcome("CredentialSet", state) == short


@given(st.text(min_size=1, max_size=20), st.none() | st.text(max_size=20))
def test_any_text_is_read_the_same_both_ways(actor: str, endpoint: str | None) -> None:
    members = {**STATE, "actor": actor, "endpoint": endpoint}
    for as_ascii in (False, True):
        state = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=as_ascii).encode()
        short = outcome("CredentialSet", state)
        assert isinstance(short, Event) == (endpoint != "")
        with mock.patch.object(event_codec, "_PLANS", PARSED):
            assert outcome("CredentialSet", state) == short


STATE = json.loads(encode(was_set(1)))

DAMAGED = [
    pytest.param("os:system", STATE, "event-topic-unknown", id="a topic that names a module"),
    pytest.param("CredentialRenamed", STATE, "event-topic-unknown", id="a topic of the future"),
    pytest.param("CredentialSet", {**STATE, "more": 1}, "event-malformed", id="a member too many"),
    pytest.param("CredentialSet", {**STATE, "token": None}, "event-malformed", id="a member without a value"),
    pytest.param("CredentialSet", {**STATE, "actor": 7}, "event-malformed", id="a member of another type"),
    pytest.param("CredentialSet", {**STATE, "timestamp": "2026-01-01T00:00:00"}, "event-malformed", id="a local time"),
    pytest.param(
        "CredentialSet",
        {**STATE, "timestamp": '2026-01-01"00:00:00+00:00', "node_time": '2026-01-01"00:00:00+00:00'},
        "event-malformed",
        id="times spelled otherwise",
    ),
    pytest.param(
        "CredentialSet", {**STATE, "timestamp": "0001-01-01T00:00:00+23:00"}, "event-malformed", id="before all time"
    ),
    pytest.param("CredentialSet", {**STATE, "timestamp": "yesterday"}, "event-malformed", id="no time"),
    pytest.param("CredentialSet", {**STATE, "set_at": "yesterday"}, "event-malformed", id="no time of setting"),
    pytest.param("CredentialSet", {**STATE, "node_time": "yesterday"}, "event-malformed", id="no time of the node"),
    pytest.param(
        "CredentialSet",
        {**STATE, "node_time": "2026-01-01T00:00:00Z"},
        "event-malformed",
        id="a time spelled otherwise",
    ),
    pytest.param(
        "CredentialSet",
        {**STATE, "node_time": '","outcome":"denied'},
        "event-malformed",
        id="a time that adds a member",
    ),
    pytest.param("CredentialSet", {**STATE, "actor": ""}, "event-malformed", id="an empty text"),
    pytest.param("CredentialSet", {**STATE, "token": ["x"]}, "event-malformed", id="a list for a token"),
    pytest.param("CredentialSet", {**STATE, "endpoint": ""}, "event-malformed", id="an empty endpoint"),
    pytest.param("CredentialSet", {**STATE, "endpoint": 0}, "event-malformed", id="a number for an endpoint"),
    pytest.param("CredentialSet", {**STATE, "endpoint": False}, "event-malformed", id="a truth for an endpoint"),
    pytest.param("CredentialSet", {**STATE, "api_version": {}}, "event-malformed", id="an object for a version"),
    pytest.param("CredentialSet", {**STATE, "originator_id": "x"}, "event-malformed", id="a stream among the members"),
    pytest.param(
        "CredentialSet",
        {**{name: value for name, value in STATE.items() if name != "endpoint"}, "sealed": "x"},
        "event-malformed",
        id="a field in place of a member",
    ),
    pytest.param("CredentialSet", {**STATE, "class_version": 3}, "event-malformed", id="a version of the future"),
    pytest.param("CredentialSet", [], "event-malformed", id="a list"),
    pytest.param("CredentialDeleted", STATE, "event-malformed", id="the members of another event"),
    pytest.param("CredentialSet", {**STATE, "provider": "mistral"}, "event-in-wrong-stream", id="another provider"),
    *[
        pytest.param("CredentialSet", {k: v for k, v in STATE.items() if k != left}, "event-malformed", id=f"no {left}")
        for left in STATE
        if left != "class_version"
    ],
    pytest.param("CredentialSet", {**STATE, "reason": ""}, "event-malformed", id="a reason without words"),
    pytest.param("CredentialSet", {**STATE, "reason": "\ud800"}, "event-malformed", id="half a character"),
    pytest.param("CredentialSet", {**STATE, "client_address": 7}, "event-malformed", id="an address of another type"),
]


@each(("topic", "state", "reason"), DAMAGED)
def test_a_damaged_event_is_refused_with_a_reason(topic: str, state: object, reason: str) -> None:
    with pytest.raises(CredentialIntegrityError) as refused:
        decode(stream_id(TENANT, "openai"), 1, topic, json.dumps(state).encode())
    assert refused.value.reason == reason


def test_an_event_in_a_stream_of_another_credential_is_refused() -> None:
    with pytest.raises(CredentialIntegrityError, match="event-in-wrong-stream"):
        decode(uuid4(), 1, "CredentialSet", encode(was_set(1)))


def _with_actor(members: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if name != "who"} | {"actor": members["who"]}


def _with_who(members: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if name != "actor"} | {"who": members["actor"]}


def _with_command(members: dict[str, object]) -> dict[str, object]:
    return {"command_id": "before-there-were-any", **members}


def _without_command(members: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if name != "command_id"}


OF_A_THIRD_VERSION = replace(
    CredentialSet.DEFINITION,
    changes=(MembersChange(2, _with_actor, _with_who), MembersChange(4, _with_command, _without_command)),
)
OLD = {name: value for name, value in STATE.items() if name not in {"actor", "command_id", "class_version"}}
OLDER = [
    pytest.param({**OLD, "who": "anna"}, "before-there-were-any", id="version 1, which carried no number"),
    pytest.param({**OLD, "who": "anna", "class_version": 1}, "before-there-were-any", id="version 1"),
    pytest.param({**OLD, "actor": "anna", "class_version": 2}, "before-there-were-any", id="version 2"),
    pytest.param({**STATE, "class_version": 3}, "c-1", id="version 3, the present one"),
]


@pytest.mark.parametrize(("state", "command_id"), OLDER)
def test_an_older_shape_is_read_as_the_present_one(
    monkeypatch: pytest.MonkeyPatch, state: dict[str, object], command_id: str
) -> None:
    monkeypatch.setattr(CredentialSet, "DEFINITION", OF_A_THIRD_VERSION)
    event = decode(stream_id(TENANT, "openai"), 1, "CredentialSet", json.dumps(state).encode())
    assert event == replace(was_set(1), command_id=command_id)
    again = encode(event, 4)
    assert json.loads(again)["class_version"] == 3
    assert decode(stream_id(TENANT, "openai"), 1, "CredentialSet", again) == event


FORMS = [
    pytest.param(1, OLD | {"who": "anna"}, id="the first form"),
    pytest.param(2, OLD | {"actor": "anna", "class_version": 2}, id="the form of the first change"),
    pytest.param(3, OLD | {"actor": "anna", "class_version": 2}, id="a form that changed other events"),
    pytest.param(4, STATE | {"class_version": 3}, id="the form of the second change"),
    pytest.param(5, STATE | {"class_version": 3}, id="a form that changed other events later"),
]


@pytest.mark.parametrize(("form", "members"), FORMS)
def test_an_event_is_written_in_the_members_of_an_earlier_form(
    monkeypatch: pytest.MonkeyPatch, form: int, members: dict[str, object]
) -> None:
    monkeypatch.setattr(CredentialSet, "DEFINITION", OF_A_THIRD_VERSION)
    assert json.loads(encode(was_set(1), form)) == members


def test_an_event_type_that_a_form_does_not_have_is_not_written_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CredentialSet, "DEFINITION", replace(CredentialSet.DEFINITION, form=2))
    assert decode(stream_id(TENANT, "openai"), 1, "CredentialSet", encode(was_set(1), 2)) == was_set(1)
    with pytest.raises(StoreUnavailableError, match="every node runs this release"):
        encode(was_set(1), 1)


def test_each_change_of_an_event_type_has_a_later_form_than_the_one_before() -> None:
    for event in EVENTS:
        forms = [event.DEFINITION.form, *(change.form for change in event.DEFINITION.changes)]
        later = [form for form in forms if form > FIRST_FORM]
        assert forms == sorted(forms)
        assert later == sorted(set(later)), "what precedes the first release is all of its form"


@pytest.mark.parametrize("version", [0, 4, -1, "2", None, 2.0, True])
def test_a_shape_that_no_upcaster_knows_is_refused(monkeypatch: pytest.MonkeyPatch, version: object) -> None:
    monkeypatch.setattr(CredentialSet, "DEFINITION", OF_A_THIRD_VERSION)
    state = {**STATE, "class_version": version}
    with pytest.raises(CredentialIntegrityError, match="event-malformed"):
        decode(stream_id(TENANT, "openai"), 1, "CredentialSet", json.dumps(state).encode())


@given(st.binary(max_size=64))
def test_any_bytes_are_refused_and_never_crash(state: bytes) -> None:
    with pytest.raises(CredentialIntegrityError):
        decode(stream_id(TENANT, "openai"), 1, "CredentialSet", state)


@given(st.integers(1, 10**9), st.text("abcdefXYZ-0189", min_size=8, max_size=40))
def test_what_is_encoded_decodes_to_the_same(version: int, key: str) -> None:
    event = was_set(version, key, AZURE)
    assert decode(event.originator_id, version, event.TOPIC, encode(event)) == event
