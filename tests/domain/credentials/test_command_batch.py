"""Commands that are carried out together come to what they would have come to one after the other."""

import gc
from collections.abc import Mapping, Sequence
from itertools import count
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.credentials.command_batch import ATTEMPTS, LOOK_AGAIN_S, AdminCommand
from domain.credentials.commands import Precondition, SetCredential
from domain.credentials.credential import Credential, stream_id
from domain.credentials.service import CredentialService
from domain.errors import (
    CredentialIntegrityError,
    CredentialNotFoundError,
    InvalidRequestError,
    StoreUnavailableError,
    VersionConflictError,
)
from domain.events.event import Event
from domain.events.event_code import LogRow
from domain.events.event_log import NOTHING_PRESUMED
from tests.support.scenario import (
    FAULTS,
    KEY,
    NOW,
    OTHER_KEY,
    OTHER_TENANT,
    TENANT,
    ClearSealer,
    delete_credential,
    service,
    set_credential,
    was_set,
)
from tests.support.twins.current_credentials import MemoryCurrentCredentials
from tests.support.twins.log import MemoryLog

_PRECONDITIONS = st.one_of(
    st.just(Precondition()),
    st.builds(Precondition, exists=st.booleans()),
    st.builds(Precondition, versions=st.frozensets(st.integers(1, 3), min_size=1)),
)
_PROVIDERS = st.sampled_from(["openai", "mistral"])


@st.composite
def batches(draw: st.DrawFn) -> list[AdminCommand]:
    """Return commands on two credentials; some repeat the command id of another."""
    ids = count(1)
    commands: list[AdminCommand] = []
    for _ in range(draw(st.integers(1, 8))):
        command_id, repeats = f"c-{next(ids)}", draw(st.booleans())
        if repeats and commands and draw(st.booleans()):
            command_id = draw(st.sampled_from(commands)).meta.command_id
        provider, wanted = draw(_PROVIDERS), draw(_PRECONDITIONS)
        if draw(st.booleans()):
            key = draw(st.sampled_from([KEY, OTHER_KEY]))
            commands.append(
                set_credential(key, provider=provider, command_id=command_id, may_repeat=repeats, precondition=wanted)
            )
        else:
            commands.append(
                delete_credential(provider=provider, command_id=command_id, may_repeat=repeats, precondition=wanted)
            )
    return commands


def _shown(outcome: Credential | Exception) -> object:
    return (type(outcome), str(outcome)) if isinstance(outcome, Exception) else outcome


@given(batches())
def test_together_is_one_after_the_other_with_one_append(commands: list[AdminCommand]) -> None:
    one_by_one, together = MemoryLog(), CountingLog()
    expected = [service(one_by_one).handle_all([command])[0] for command in commands]

    outcomes = service(together).handle_all(commands)

    assert [_shown(outcome) for outcome in outcomes] == [_shown(outcome) for outcome in expected]
    assert together.events == one_by_one.events
    assert together.appends <= 1


@given(batches(), st.lists(st.sampled_from(FAULTS), max_size=2))
def test_whatever_breaks_a_command_happens_at_most_once_and_who_was_told_so_is_in_the_log(
    commands: list[AdminCommand], errors: list[str]
) -> None:
    log = MemoryLog()
    log.errors = list(errors)

    outcomes = service(log).handle_all(commands)

    for stream in {event.originator_id for event in log.events}:
        own = [event for event in log.events if event.originator_id == stream]
        assert [event.originator_version for event in own] == list(range(1, len(own) + 1))
        assert len({event.command_id for event in own}) == len(own)
    for command, outcome in zip(commands, outcomes, strict=True):
        if isinstance(outcome, Credential):
            stream = stream_id(command.tenant_id, command.provider)
            places = [(event.originator_id, event.originator_version) for event in log.events]
            assert (stream, outcome.version) in places
            assert (outcome.sealed is not None) is isinstance(command, SetCredential)


@pytest.mark.parametrize("error", FAULTS)
def test_one_lost_answer_is_no_error_for_any_and_no_second_event(error: str) -> None:
    log = MemoryLog()
    log.errors = [error]
    commands = [set_credential(command_id="one"), set_credential(tenant_id=OTHER_TENANT, command_id="two")]

    outcomes = service(log).handle_all(commands)

    assert [outcome.version for outcome in outcomes if isinstance(outcome, Credential)] == [1, 1]
    assert [event.command_id for event in log.events] == ["one", "two"]


def test_an_outage_is_told_to_each_in_an_error_of_its_own() -> None:
    log = MemoryLog()
    log.errors = ["outage before the effect"] * ATTEMPTS
    first, second = service(log).handle_all([set_credential(), set_credential(tenant_id=OTHER_TENANT)])

    assert isinstance(first, StoreUnavailableError)
    assert isinstance(second, StoreUnavailableError)
    assert first is not second


def test_what_others_store_meanwhile_is_decided_upon_again() -> None:
    log = MemoryLog()
    log.interlopers = [was_set(1, OTHER_KEY)]
    mine = set_credential(command_id="mine")
    only_new = set_credential("sk-third-key-0001", command_id="new", precondition=Precondition(exists=False))

    changed, refused = service(log).handle_all([mine, only_new])

    assert isinstance(changed, Credential)
    assert changed.version == 2
    assert isinstance(refused, VersionConflictError)
    assert [event.command_id for event in log.events] == ["c-1", "mine"]


def test_each_is_refused_for_its_own_reason() -> None:
    log = MemoryLog()
    service(log).handle(set_credential(command_id="used", may_repeat=True))

    outcomes = service(log).handle_all(
        [
            set_credential(OTHER_KEY, command_id="used", may_repeat=True),
            delete_credential(provider="mistral"),
            set_credential(OTHER_KEY, precondition=Precondition(frozenset({7}))),
            delete_credential(command_id="gone"),
            delete_credential(command_id="gone twice"),
        ]
    )

    kinds = [InvalidRequestError, CredentialNotFoundError, VersionConflictError, Credential, CredentialNotFoundError]
    assert [type(outcome) for outcome in outcomes] == kinds


REFUSALS = [
    pytest.param([], [], id="by a precondition"),
    pytest.param([], ["outage before the effect"] * ATTEMPTS, id="by an outage"),
    pytest.param([was_set(version, OTHER_KEY) for version in range(1, 200)], [], id="by rivals"),
]


@pytest.mark.parametrize(("rivals", "errors"), REFUSALS)
def test_a_refusal_holds_none_of_the_commands_nor_their_keys(rivals: list[Event], errors: list[str]) -> None:
    log = MemoryLog()
    log.interlopers, log.errors = list(rivals), list(errors)
    only_if_there = Precondition(exists=None if rivals or errors else True)
    gc.disable()
    gc.freeze()  # older objects are not looked at
    try:
        refused = service(log).handle_all(
            [set_credential(command_id=f"held-{number}", precondition=only_if_there) for number in range(3)]
        )
        held = [one for one in gc.get_objects() if isinstance(one, SetCredential) and "held-" in one.meta.command_id]
        assert [isinstance(refused, Exception) for refused in refused] == [True] * 3
        assert held == []
    finally:
        gc.unfreeze()
        gc.enable()


def test_a_damaged_stream_is_the_fault_of_its_own_commands_only() -> None:
    log = DamagedLog()
    damaged, whole = service(log).handle_all([set_credential(), set_credential(tenant_id=OTHER_TENANT)])

    assert isinstance(damaged, CredentialIntegrityError)
    assert isinstance(whole, Credential)
    assert len(log.events) == 1


def test_an_outage_while_they_go_one_by_one_ends_all_that_are_left() -> None:
    log = DamagedLog()
    log.errors = ["outage before the effect"] * ATTEMPTS
    others = [set_credential(tenant_id=OTHER_TENANT, provider=provider) for provider in ("openai", "mistral", "vllm")]
    damaged, *ended = service(log).handle_all([set_credential(), *others])

    assert isinstance(damaged, CredentialIntegrityError)
    assert [type(outcome) for outcome in ended] == [StoreUnavailableError] * 3
    assert len(log.errors) == ATTEMPTS - 2, "one was tried twice, the others not at all"


def test_a_defect_of_one_is_told_to_it_alone() -> None:
    log = MemoryLog()
    broken = CredentialService(
        log, MemoryCurrentCredentials(log), BrokenSealer(), lambda: NOW, pause=lambda seconds: None
    )
    outcomes = broken.handle_all([set_credential(BrokenSealer.FATAL), set_credential(tenant_id=OTHER_TENANT)])

    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError, Credential]


class CountingLog(MemoryLog):
    appends = 0

    def append(self, events: Sequence[Event], presumed: Mapping[UUID, LogRow | None] = NOTHING_PRESUMED) -> None:
        self.appends += 1
        super().append(events, presumed)


class DamagedLog(MemoryLog):
    """The stream of TENANT holds what cannot be read."""

    def newest(self, streams: Sequence[UUID]) -> Mapping[UUID, Event]:
        if stream_id(TENANT, "openai") in streams:
            raise CredentialIntegrityError("members")
        return super().newest(streams)


class BrokenSealer(ClearSealer):
    FATAL = "sk-fatal-key-0001"

    def fingerprint(self, secret):
        return str(1 // 0) if secret.reveal() == self.FATAL else super().fingerprint(secret)


READ_ONLY = {
    "a repeated PUT": [set_credential(KEY, command_id="c-1", may_repeat=True)],
    "a PUT that changes nothing": [set_credential(KEY, command_id="c-9")],
    "a DELETE of what is not there": [delete_credential(provider="mistral", command_id="c-9")],
    "one of two": [set_credential(OTHER_KEY, command_id="c-9"), delete_credential(provider="mistral")],
}


@pytest.mark.parametrize("commands", READ_ONLY.values(), ids=READ_ONLY)
def test_an_outcome_that_was_only_read_counts_once_a_later_write_is_confirmed(commands: list[AdminCommand]) -> None:
    log = MemoryLog()
    node = service(log)
    node.handle(set_credential(KEY, command_id="c-1", may_repeat=True))
    log.unconfirmed = True
    assert {type(outcome) for outcome in node.handle_all(commands)} == {StoreUnavailableError}
    log.unconfirmed = False
    assert StoreUnavailableError not in {type(outcome) for outcome in node.handle_all(commands)}


@pytest.mark.parametrize(("seconds", "looked"), [(LOOK_AGAIN_S, True), (LOOK_AGAIN_S + 0.1, False)])
def test_an_outage_is_looked_into_only_while_the_caller_has_not_waited_long(seconds: float, *, looked: bool) -> None:
    log = MemoryLog()
    log.errors = ["outage after the effect"]
    clock = iter([0.0, seconds])
    node = CredentialService(
        log, MemoryCurrentCredentials(log), ClearSealer(), lambda: NOW, lambda pause: None, elapsed=clock.__next__
    )
    (outcome,) = node.handle_all([set_credential(KEY)])
    assert isinstance(outcome, Credential) is looked
