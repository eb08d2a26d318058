"""Commands happen once, whatever breaks around them. Faults come in pairs: before the effect and after it."""

import pytest

from domain.credentials.command_batch import ATTEMPTS, AdminCommand
from domain.credentials.commands import Precondition
from domain.credentials.service import CredentialService
from domain.errors import CredentialNotFoundError, ErrorCode, StoreUnavailableError, VersionConflictError
from tests.support.errors import raises
from tests.support.scenario import (
    FAULTS,
    KEY,
    NOW,
    OTHER_KEY,
    ClearSealer,
    delete_credential,
    service,
    set_credential,
    was_set,
)
from tests.support.twins.current_credentials import MemoryCurrentCredentials
from tests.support.twins.log import MemoryLog


@pytest.mark.parametrize("error", FAULTS)
def test_one_lost_answer_is_no_error_and_no_second_event(error: str) -> None:
    log = MemoryLog()
    log.errors = [error]
    assert service(log).handle(set_credential()).version == 1
    assert len(log.events) == 1


def test_an_outage_that_lasts_is_reported() -> None:
    log = MemoryLog()
    log.errors = ["outage before the effect"] * ATTEMPTS
    with pytest.raises(StoreUnavailableError):
        service(log).handle(set_credential())
    assert log.events == []


def test_a_command_that_is_outrun_decides_again() -> None:
    log = MemoryLog()
    log.interlopers = [was_set(1, OTHER_KEY)]
    assert service(log).handle(set_credential(command_id="mine")).version == 2
    assert [event.command_id for event in log.events] == ["c-1", "mine"]


def test_a_command_that_is_always_outrun_is_a_conflict() -> None:
    log = MemoryLog()
    log.interlopers = [was_set(version, OTHER_KEY) for version in range(1, ATTEMPTS + 1)]
    with pytest.raises(VersionConflictError) as conflict:
        service(log).handle(set_credential(command_id="mine"))
    assert not conflict.value.precondition


def test_a_command_that_stated_a_version_and_is_outrun_is_a_conflict_with_its_precondition() -> None:
    log = MemoryLog()
    log.events = [was_set(1)]
    log.interlopers = [was_set(2, OTHER_KEY)]
    with pytest.raises(VersionConflictError) as conflict:
        service(log).handle(
            set_credential("sk-third-key-0001", command_id="mine", precondition=Precondition(frozenset({1})))
        )
    assert conflict.value.precondition
    assert conflict.value.current == 2


def test_a_repeated_command_answers_as_the_first_time_although_others_came_between() -> None:
    log = MemoryLog()
    first = service(log).handle(set_credential(command_id="again", may_repeat=True))
    service(log).handle(set_credential(OTHER_KEY, command_id="other"))
    assert service(log).handle(set_credential(command_id="again", may_repeat=True)) == first
    assert len(log.events) == 2


def test_a_repeated_delete_answers_as_the_first_time() -> None:
    log = MemoryLog()
    service(log).handle(set_credential())
    first = service(log).handle(delete_credential(command_id="again", may_repeat=True))
    assert service(log).handle(delete_credential(command_id="again", may_repeat=True)) == first


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(set_credential(OTHER_KEY, command_id="again", may_repeat=True), id="another key"),
        pytest.param(delete_credential(command_id="again", may_repeat=True), id="a delete instead of a set"),
    ],
)
def test_a_command_id_used_for_something_else_is_refused(command: AdminCommand) -> None:
    log = MemoryLog()
    service(log).handle(set_credential(command_id="again", may_repeat=True))
    with raises(ErrorCode.IDEMPOTENCY_KEY_REUSED):
        service(log).handle(command)


def test_a_repeated_set_is_recognised_after_its_encryption_key_was_retired() -> None:
    log = MemoryLog()
    service(log).handle(set_credential(command_id="again", may_repeat=True))
    later = CredentialService(
        log, MemoryCurrentCredentials(log), ClearSealer("k0000000002", []), lambda: NOW, pause=lambda seconds: None
    )
    assert later.handle(set_credential(KEY, command_id="again", may_repeat=True)).version == 1


def test_deleting_nothing_is_refused_and_records_nothing() -> None:
    log = MemoryLog()
    with pytest.raises(CredentialNotFoundError):
        service(log).handle(delete_credential())
    assert log.events == []


def test_a_set_that_changes_nothing_makes_no_event() -> None:
    log = MemoryLog()
    for number in range(3):
        assert service(log).handle(set_credential(command_id=f"c-{number}")).version == 1
    assert len(log.events) == 1


def test_a_set_that_changes_nothing_mends_a_view_that_lost_its_row() -> None:
    log = MemoryLog()
    service(log).handle(set_credential())
    damaged = MemoryCurrentCredentials(log)
    damaged.emptied = True
    later = CredentialService(log, damaged, ClearSealer(), lambda: NOW, pause=lambda seconds: None)
    assert later.handle(set_credential(command_id="c-2")).version == 2
