"""Every kind of event has a leaf that an auditor's verification reads, and any change of its row shows in it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.audit.leaf import leaf_of, row_digest
from domain.audit.record import decode_record, spell
from domain.credentials.providers import CredentialConfig
from domain.events.event import Event
from domain.events.personal import shown_in_proofs
from tests.domain.test_event_codec import IN_CLEAR, SAMPLES
from tests.support.each import each
from tests.support.rows import row_of
from tests.support.scenario import KEY, was_set

EVENTS = [*SAMPLES.items(), *((f"{name} in clear", event) for name, event in IN_CLEAR.items())]


@each("event", [event for _, event in EVENTS], ids=[name for name, _ in EVENTS])
def test_the_leaf_of_an_event_is_a_record_that_says_the_same(event: Event) -> None:
    record = decode_record(leaf_of(event, row_of(7, event)))
    assert (record.position, record.stream, record.version, record.type) == (
        7,
        event.originator_id,
        event.originator_version,
        event.TOPIC,
    )
    assert (record.actor, record.role, record.source, record.reason) == (
        shown_in_proofs(event.actor),
        event.role,
        event.source,
        event.reason and shown_in_proofs(event.reason),
    )
    assert record.time == event.timestamp


def test_a_leaf_holds_neither_the_key_nor_its_token() -> None:
    event = was_set(1)
    leaf = leaf_of(event, row_of(1, event)).decode()
    assert KEY not in leaf
    assert event.sealed.token not in leaf
    assert event.sealed.binding not in leaf


CHANGES = [
    pytest.param(lambda row: {**row, "position": 8}, id="the position"),
    pytest.param(lambda row: {**row, "version": 2}, id="the version"),
    pytest.param(lambda row: {**row, "topic": "CredentialReencrypted"}, id="the topic"),
    pytest.param(lambda row: {**row, "stream": was_set(1).originator_id.__class__(int=5)}, id="the stream"),
    pytest.param(lambda row: {**row, "state": row["state"] + b" "}, id="a blank at the end"),
    pytest.param(lambda row: {**row, "state": row["state"].replace(b"clear", b"CLEAR")}, id="a byte of the token"),
    pytest.param(lambda row: {**row, "code_key_id": "k2"}, id="the key of the code"),
    pytest.param(lambda row: {**row, "code": b"\1" + bytes(31)}, id="the code"),
    pytest.param(lambda row: {**row, "code": None, "code_key_id": None}, id="no code"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_of_a_row_changes_its_digest(change) -> None:
    event = was_set(1)
    row = row_of(7, event)._replace(code_key_id="k1", code=bytes(32))
    assert row_digest(row._replace(**change(row._asdict()))) != row_digest(row)


@given(st.text(min_size=1), st.none() | st.text(min_size=1), st.none() | st.text(min_size=1))
def test_a_leaf_is_spelt_as_records_are_whatever_the_texts(
    actor: str, reason: str | None, endpoint: str | None
) -> None:
    event = replace(was_set(1), actor=actor, reason=reason, config=CredentialConfig(endpoint))
    leaf = leaf_of(event, row_of(1, event))
    members = json.loads(leaf)
    assert leaf == spell(members)
    assert (members["actor"], members["reason"]) == (actor, reason)
    assert members["details"] == ({} if endpoint is None else {"endpoint": endpoint})
