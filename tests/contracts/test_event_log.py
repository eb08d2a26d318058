"""The log: appends all or nothing, refuses a version that is taken, and finds events by stream and by command."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import pytest

from domain.audit.entries import AuditFilter
from domain.credentials.credential import stream_id
from domain.errors import StoreUnavailableError, VersionConflictError
from domain.events.event import Event
from tests.contracts.ledgers import Ledger
from tests.support.people import impersonal
from tests.support.scenario import OTHER_TENANT, TENANT, was_deleted, was_set

K = TypeVar("K")
STREAM = stream_id(TENANT, "openai")
OTHER_STREAM = stream_id(OTHER_TENANT, "openai")
OTHER = replace(was_set(1), originator_id=OTHER_STREAM, tenant_id=OTHER_TENANT, command_id="c-2")


def stream(ledger: Ledger) -> list[Event]:
    return [impersonal(event) for event in ledger.log.stream(STREAM)]


def all_impersonal(found: Mapping[K, Event]) -> dict[K, Event]:
    return {key: impersonal(event) for key, event in found.items()}


def test_an_empty_log_has_no_events(ledger: Ledger) -> None:
    assert ledger.log.last(STREAM) is None
    assert ledger.log.newest([STREAM]) == {}
    assert ledger.log.find_all([(STREAM, "c-1")]) == {}
    assert list(ledger.log.stream(STREAM)) == []


def test_appending_nothing_changes_nothing(ledger: Ledger) -> None:
    ledger.log.append([])
    assert list(ledger.log.stream(STREAM)) == []


def test_a_stream_is_read_oldest_first_and_apart_from_others(ledger: Ledger) -> None:
    ledger.log.append([was_set(1), OTHER])
    ledger.log.append([was_deleted(2)])
    assert stream(ledger) == [impersonal(was_set(1)), impersonal(was_deleted(2))]
    last = ledger.log.last(STREAM)
    assert last is not None
    assert impersonal(last) == impersonal(was_deleted(2))
    newest = ledger.log.newest([STREAM, OTHER_STREAM, STREAM])
    assert all_impersonal(newest) == all_impersonal({STREAM: was_deleted(2), OTHER_STREAM: OTHER})


def test_a_command_is_found_by_stream_and_id_as_its_first_event(ledger: Ledger) -> None:
    ledger.log.append([was_set(1), was_deleted(2), OTHER])
    wanted = [(STREAM, "c-1"), (STREAM, "c-2"), (OTHER_STREAM, "c-2")]
    found = ledger.log.find_all(wanted)
    assert all_impersonal(found) == all_impersonal({(STREAM, "c-1"): was_set(1), (OTHER_STREAM, "c-2"): OTHER})


TAKEN = [
    pytest.param([was_deleted(1)], 1, id="the version is taken"),
    pytest.param([OTHER, was_deleted(1)], 1, id="the version of the last of several is taken"),
    pytest.param([was_deleted(2), was_set(2)], 2, id="two events have the same version"),
]


@pytest.mark.parametrize(("events", "version"), TAKEN)
def test_an_append_is_refused_whole(ledger: Ledger, events: list, version: int) -> None:
    ledger.log.append([was_set(1)])
    with pytest.raises(VersionConflictError) as refused:
        ledger.log.append(events)
    assert (refused.value.current, refused.value.precondition) == (version, False)
    assert stream(ledger) == [impersonal(was_set(1))]
    assert ledger.log.last(OTHER_STREAM) is None


def test_a_key_in_a_text_is_stored_as_its_mask(ledger: Ledger) -> None:
    ledger.log.append([replace(was_set(1), reason="was sk-proj-0123456789abcdefghijklmnop")])
    (entry,) = ledger.trail.page(AuditFilter()).entries
    assert entry.reason == "was ...mnop"


def test_events_that_were_read_are_confirmed_and_others_are_not(ledger: Ledger) -> None:
    ledger.log.append([was_set(1), OTHER])
    ledger.log.confirm([])
    ledger.log.confirm([was_set(1), OTHER])
    for absent in (was_deleted(2), replace(was_set(1), command_id="c-9"), replace(OTHER, originator_version=2)):
        with pytest.raises(StoreUnavailableError):
            ledger.log.confirm([was_set(1), absent])
