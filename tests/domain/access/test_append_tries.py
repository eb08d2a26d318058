"""A conflict is decided again, an outage is looked up once, and neither is repeated without end."""

from collections.abc import Callable

import pytest

from domain.access.append_tries import TRIES, AppendTries
from domain.errors import StoreUnavailableError, VersionConflictError

CONFLICT, OUTAGE, DONE = VersionConflictError(3, precondition=False), StoreUnavailableError(), None
Outcome = Exception | None


def doing(outcome: Outcome) -> Callable[[], None]:
    def append() -> None:
        if outcome is not None:
            raise outcome

    return append


def tried(outcomes: list[Outcome]) -> list[bool]:
    tries = AppendTries()
    return [tries.appended(doing(outcome)) for outcome in outcomes]


@pytest.mark.parametrize(
    "outcomes",
    [
        pytest.param([DONE], id="at once"),
        pytest.param([CONFLICT] * (TRIES - 1) + [DONE], id="after conflicts"),
        pytest.param([OUTAGE, DONE], id="after an outage"),
        pytest.param([OUTAGE, CONFLICT, OUTAGE, DONE], id="after outages that are not in a row"),
    ],
)
def test_an_append_succeeds_in_the_end(outcomes: list[Outcome]) -> None:
    assert tried(outcomes) == [False] * (len(outcomes) - 1) + [True]


@pytest.mark.parametrize(
    ("outcomes", "error"),
    [
        pytest.param([CONFLICT] * TRIES, CONFLICT, id="conflicts without end"),
        pytest.param([OUTAGE, OUTAGE], OUTAGE, id="two outages in a row"),
        pytest.param([CONFLICT, OUTAGE, OUTAGE], OUTAGE, id="two outages in a row after a conflict"),
    ],
)
def test_the_last_failure_is_the_callers(outcomes: list[Outcome], error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        tried(outcomes)
    assert raised.value is error
