"""The effect of commands on a credential."""

from dataclasses import replace

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain.credentials.commands import Command, Precondition
from domain.credentials.credential import Credential, CredentialSet, decide, evolve, stream_id
from domain.credentials.providers import CredentialConfig
from domain.errors import CredentialNotFoundError, InvalidRequestError, ServiceError, VersionConflictError
from tests.support.scenario import (
    KEY,
    NOW,
    OTHER_KEY,
    OTHER_TENANT,
    TENANT,
    ClearSealer,
    delete_credential,
    given,
    set_credential,
    was_deleted,
    was_set,
)

ELSEWHERE = CredentialConfig(endpoint="https://elsewhere.example.com/v1")


def test_a_first_set_is_version_one() -> None:
    given().when(set_credential()).then(was_set(1))


def test_another_key_is_the_next_version() -> None:
    given(was_set(1)).when(set_credential(OTHER_KEY)).then(was_set(2, OTHER_KEY))


def test_another_endpoint_is_the_next_version() -> None:
    given(was_set(1)).when(set_credential(KEY, config=ELSEWHERE)).then(was_set(2, KEY, ELSEWHERE))


def test_the_same_key_and_settings_change_nothing() -> None:
    given(was_set(1)).when(set_credential()).then_nothing()


def test_a_credential_that_cannot_be_opened_is_replaced_even_by_the_same_key() -> None:
    lost = was_set(1, sealer=ClearSealer("k0000000099"))
    given(lost).when(set_credential()).then(was_set(2))


DOUBTFUL = ["sk-proj-abc123...", "your-api-key-here", "changeme", "sk-xxxxxxxxxxxxxxxx"]


@pytest.mark.parametrize("doubtful", DOUBTFUL)
@pytest.mark.parametrize(
    "live",
    [pytest.param(was_set(1), id="good"), pytest.param(was_set(1, sealer=ClearSealer("k0000000099")), id="unreadable")],
)
def test_a_placeholder_never_replaces_a_key(live: CredentialSet, doubtful: str) -> None:
    given(live).when(set_credential(doubtful)).then_refused(InvalidRequestError)


@pytest.mark.parametrize("doubtful", DOUBTFUL)
@pytest.mark.parametrize(
    ("events", "version"),
    [
        pytest.param((), 1, id="none"),
        pytest.param((was_set(1), was_deleted(2)), 3, id="a deleted one"),
        pytest.param((was_set(1, "sk-proj-another..."),), 2, id="another placeholder"),
    ],
)
def test_a_placeholder_is_set_where_there_is_no_key_to_lose(
    events: tuple[CredentialSet, ...], version: int, doubtful: str
) -> None:
    given(*events).when(set_credential(doubtful)).then(was_set(version, doubtful))


def test_a_delete_is_the_next_version() -> None:
    given(was_set(1)).when(delete_credential()).then(was_deleted(2))


def test_a_set_after_a_delete_continues_the_stream() -> None:
    given(was_set(1), was_deleted(2)).when(set_credential()).then(was_set(3))


@pytest.mark.parametrize(
    "events",
    [pytest.param((), id="never set"), pytest.param((was_set(1), was_deleted(2)), id="deleted already")],
)
def test_what_is_not_there_cannot_be_deleted(events: tuple[CredentialSet, ...]) -> None:
    given(*events).when(delete_credential()).then_refused(CredentialNotFoundError)


PRECONDITIONS = [
    pytest.param((), Precondition(exists=False), True, id="create only, and there is none"),
    pytest.param((was_set(1),), Precondition(exists=False), False, id="create only, but there is one"),
    pytest.param((was_set(1), was_deleted(2)), Precondition(exists=False), True, id="create only, after a delete"),
    pytest.param((was_set(1),), Precondition(exists=True), True, id="any version, and there is one"),
    pytest.param((), Precondition(exists=True), False, id="any version, but there is none"),
    pytest.param((was_set(1),), Precondition(frozenset({1})), True, id="the version it is at"),
    pytest.param((was_set(1),), Precondition(frozenset({4, 1})), True, id="one of several versions"),
    pytest.param((was_set(2),), Precondition(frozenset({1})), False, id="a version it was at before"),
    pytest.param((was_set(1), was_deleted(2)), Precondition(frozenset({2})), False, id="the version of its deletion"),
]


@pytest.mark.parametrize(("events", "precondition", "holds"), PRECONDITIONS)
def test_a_precondition_decides_whether_a_set_happens(
    events: tuple[CredentialSet, ...], precondition: Precondition, holds: bool
) -> None:
    outcome = given(*events).when(set_credential(OTHER_KEY, precondition=precondition))
    if holds:
        outcome.then(was_set(events[-1].originator_version + 1 if events else 1, OTHER_KEY))
    else:
        outcome.then_refused(VersionConflictError)


def test_a_precondition_is_checked_before_a_set_is_found_to_change_nothing() -> None:
    given(was_set(2)).when(set_credential(precondition=Precondition(frozenset({1})))).then_refused(VersionConflictError)


def test_every_tenant_and_provider_has_a_stream_of_its_own() -> None:
    streams = {stream_id(tenant, provider) for tenant in (TENANT, OTHER_TENANT) for provider in ("openai", "azure")}
    assert len(streams) == 4


COMMANDS = st.lists(
    st.one_of(
        st.builds(
            set_credential, st.sampled_from([KEY, OTHER_KEY]), config=st.sampled_from([CredentialConfig(), ELSEWHERE])
        ),
        st.builds(delete_credential),
        st.builds(
            delete_credential,
            precondition=st.builds(Precondition, st.frozensets(st.integers(1, 6), max_size=2)),
        ),
    ),
    max_size=12,
)


@for_all(COMMANDS)
def test_any_commands_lead_to_gapless_versions_or_refusals(commands: list[Command]) -> None:
    state: Credential | None = None
    for command in commands:
        before = state.version if state else 0
        try:
            events = decide(state, command, NOW, ClearSealer())
        except ServiceError:
            continue
        assert [event.originator_version for event in events] == list(range(before + 1, before + 1 + len(events)))
        state = evolve(events[-1]) if events else state


@for_all(st.sampled_from([KEY, OTHER_KEY]), st.sampled_from([CredentialConfig(), ELSEWHERE]))
def test_the_last_event_alone_is_the_credential(key: str, config: CredentialConfig) -> None:
    event = was_set(3, key, config)
    state = evolve(event)
    assert state.sealed is not None
    assert ClearSealer().open(state.sealed, state.context).reveal() == key
    assert state == evolve(replace(event, actor="someone else"))
