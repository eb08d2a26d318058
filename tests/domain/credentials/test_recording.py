"""The gate of the log: no text of a new event holds a key, whatever its type and its author."""

from dataclasses import fields, replace
from uuid import uuid4

import pytest

from domain.audit.request_events import audit_exported, audit_read
from domain.credentials.credential import CredentialSet, decide, evolve
from domain.credentials.providers import CONFIG_FIELDS, CredentialConfig
from domain.credentials.recording import recordable, without_keys
from domain.credentials.secret import Secret
from domain.errors import InvalidRequestError
from domain.events.event import CommandMeta, envelope
from domain.operations.encryption_keys import EncryptionKeyIntroduced
from tests.support.scenario import KEY, NOW, OTHER_KEY, ClearSealer, delete_credential, set_credential, was_set

CANARY = "sk-proj-Zq81xkLmN0pQ77"
META = CommandMeta("anna", "req-1", "c-1", reason="ticket 4711")
STORED = "an-opaque-key-0123"


def _texts(event):
    return {field.name for field in fields(event) if isinstance(getattr(event, field.name), str)}


EVENTS = [
    pytest.param(audit_read(META, NOW, "entries", "actor:anna"), id="a read"),
    pytest.param(audit_exported(META, NOW, "csv", "actor:anna"), id="an export"),
    pytest.param(was_set(1), id="a set"),
    pytest.param(EncryptionKeyIntroduced(**envelope(uuid4(), 1, META, NOW), key_id="k0123456789"), id="a key"),
]


@pytest.mark.parametrize("event", EVENTS)
def test_a_key_in_any_text_of_an_event_is_masked(event):
    assert recordable(event) is event
    for name in _texts(event):
        planted = replace(event, **{name: f"see {CANARY}"})
        assert getattr(recordable(planted), name) == "see ...pQ77"


def test_what_is_sealed_and_the_settings_it_is_bound_to_pass_unchanged():
    event = replace(was_set(1), config=CredentialConfig(endpoint=f"https://llm.example.com/{CANARY}"))
    assert recordable(event) is event


@pytest.mark.parametrize("member", ["actor", "request_id", "command_id", "reason"])
def test_who_asks_and_why_is_kept_without_a_given_key(member):
    meta = replace(META, **{member: f"x{STORED}y"})  # type: ignore[arg-type]  # members that are text
    assert getattr(without_keys(meta, [Secret(STORED)]), member) == "...123y"


COMMANDS = [
    pytest.param(lambda: set_credential(STORED), [was_set(1)], id="the key that is set"),
    pytest.param(lambda: set_credential(OTHER_KEY), [was_set(1, STORED)], id="the key that is replaced"),
    pytest.param(delete_credential, [was_set(1, STORED)], id="the key that is deleted"),
]


def _decided(command, past):
    return decide(evolve(past[-1]) if past else None, command, NOW, ClearSealer())


@pytest.mark.parametrize(("make", "past"), COMMANDS)
@pytest.mark.parametrize("member", ["request_id", "command_id", "reason"])
def test_an_event_never_holds_the_key_it_is_about(make, past, member):
    command = make()
    asked = replace(command, meta=replace(command.meta, **{member: f"because of {STORED.upper()}"}))
    (event,) = _decided(asked, past)
    assert getattr(event, member) == "because of ...0123"


@pytest.mark.parametrize("name", CONFIG_FIELDS)
def test_settings_that_hold_the_key_they_replace_are_refused_by_name(name):
    command = set_credential(OTHER_KEY, config=CredentialConfig(**{name: f"x-{STORED}"}))
    with pytest.raises(InvalidRequestError) as refused:
        _decided(command, [was_set(1, STORED)])
    assert [error.field for error in refused.value.fields] == [name]
    assert STORED not in refused.value.detail


def test_a_key_that_cannot_be_opened_refuses_nothing_and_stops_nothing():
    lost = was_set(1, STORED, sealer=ClearSealer("k0000000099"))
    command = replace(delete_credential(), meta=replace(META, reason="ends in 0123"))
    (event,) = _decided(command, [lost])
    assert event.reason == "ends in 0123"
    (event,) = _decided(set_credential(KEY), [lost])
    assert isinstance(event, CredentialSet)
