"""Events that are read the quick way give the same events, rows, leaves and errors as those read the plain way."""

import json
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.audit.entries import action_of
from domain.audit.leaf import leaf_of
from domain.credentials.credential import stream_id
from domain.credentials.providers import CredentialConfig
from domain.errors import CredentialIntegrityError
from domain.event_codec import encode, event_of
from domain.events.event import Event
from domain.events.event_code import LogRow
from projections.audit.audit_trail import comparable, project
from projections.catch_up import Appended, read_row
from projections.proofs.transparency_log import leaf_by
from projections.quick_events import quickly
from tests.domain.test_event_codec import DAMAGED, SAMPLES
from tests.support.each import each
from tests.support.mutations import mutated
from tests.support.people import sealed
from tests.support.scenario import TENANT, was_deleted, was_reencrypted, was_set

STREAM = stream_id(TENANT, "openai")
CONFIG = CredentialConfig("https://llm.example/v1", "2026-01-01", "gpt")
WRITTEN: list[Event] = [
    *(was_set(1), was_set(2, "sk-azure-key-0001", CONFIG), was_set(3, config=replace(CONFIG, endpoint=None))),
    *(was_reencrypted(4), was_deleted(5)),
]
OF_CREDENTIALS = [event for one in WRITTEN for event in (one, sealed(one))]
TOPICS = st.sampled_from(["CredentialSet", "CredentialReencrypted", "CredentialDeleted"])


def plainly(row: LogRow) -> Appended:
    try:
        return Appended(row.position, event_of(row), row)
    except CredentialIntegrityError as error:
        raise CredentialIntegrityError(f"{error.reason} at position {row.position}, topic {row.topic}") from None


def outcome(read: Callable[[LogRow], Appended], row: LogRow) -> object:
    """Return everything that follows from a row, or the reason for which it is refused."""
    try:
        appended = read(row)
        entry = comparable(project(appended, action_of(appended.event, None)))
    except CredentialIntegrityError as error:
        return error.reason
    return appended.event, entry, [type(value) for value in entry], leaf_by(appended)


def row_of(state: bytes, topic: str, version: int = 1, stream: UUID = STREAM) -> LogRow:
    return LogRow(7, stream, version, topic, state, "k0123456789", b"x" * 32)


@given(mutated(st.sampled_from([encode(event) for event in OF_CREDENTIALS])), TOPICS, st.sampled_from([-1, 0, 1, 2]))
def test_mutated_events_get_the_same_result(state: bytes, topic: str, version: int) -> None:
    row = row_of(state, topic, version)
    assert outcome(read_row, row) == outcome(plainly, row)


MEMBERS = json.loads(encode(was_set(2, "sk-azure-key-0001", CONFIG)))
TEXT = st.none() | st.text(max_size=12)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(sorted(MEMBERS), TEXT)), st.booleans(), st.booleans())
def test_generated_members_get_the_same_result(members: dict[str, object], as_ascii: bool, moved: bool) -> None:
    told = {**MEMBERS, **members}
    stream = STREAM if moved else stream_id(str(told["tenant_id"]), str(told["provider"]))
    state = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=as_ascii)
    row = row_of(state.encode("utf-8", "surrogatepass"), "CredentialSet", stream=stream)
    assert outcome(read_row, row) == outcome(plainly, row)


@each("event", SAMPLES.values())
def test_every_event_type_gets_the_same_result(event: Event) -> None:
    row = row_of(encode(event), event.TOPIC, stream=event.originator_id)
    assert outcome(read_row, row) == outcome(plainly, row)


@each("topic, state", [damaged.values[:2] for damaged in DAMAGED if damaged.values[0] != "os:system"])
def test_damaged_events_get_the_same_result(topic: str, state: object) -> None:
    row = row_of(json.dumps(state).encode(), topic)
    assert outcome(read_row, row) == outcome(plainly, row)


@each("event", OF_CREDENTIALS)
def test_events_of_credentials_take_the_quick_way_and_their_leaves_are_the_same(event: Event) -> None:
    row = row_of(encode(event), event.TOPIC, event.originator_version)
    assert quickly(row) is not None
    assert leaf_by(read_row(row)) == leaf_of(event, row)
