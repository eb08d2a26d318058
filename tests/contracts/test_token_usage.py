"""The records of tokens: additions, filters and cursors, in memory and on PostgreSQL."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.audit.token_usage import CURSOR_PATTERN, TokenFilter, TokenPlace, TokenRecord, TokenUsage
from domain.audit.usage import HOUR
from domain.calls.tokens import TOKENS_MAX, Tokens
from projections.usage.token_usage import PostgresTokenUsage
from tests.contracts.ledgers import BEGIN
from tests.support.scenario import OTHER_TENANT, TENANT
from tests.support.store import open_store
from tests.support.twins.token_usage import MemoryTokenUsage

PLACES = [
    TokenPlace(BEGIN, TENANT, "openai", 0, "", "", "USD"),
    TokenPlace(BEGIN, TENANT, "openai", 1, "Web", "gpt-4o", "USD"),
    TokenPlace(BEGIN, TENANT, "openai", 1, "app", "GPT", "USD"),
    TokenPlace(BEGIN, TENANT, "openai", 1, "app", "gpt-4o", "EUR"),
    TokenPlace(BEGIN, TENANT, "openai", 1, "app", "gpt-4o", "USD"),
    TokenPlace(BEGIN, OTHER_TENANT, "vllm", 2, "app", "a/b c é", "USD"),
    TokenPlace(BEGIN + HOUR, TENANT, "openai", 1, "app", "gpt-4o", "USD"),
]
"""In the order of pages."""
FILTERS = [
    ({}, [0, 1, 2, 3, 4, 5, 6]),
    ({"tenant_id": OTHER_TENANT}, [5]),
    ({"provider": "vllm"}, [5]),
    ({"version": 0}, [0]),
    ({"access_key": "app"}, [2, 3, 4, 5, 6]),
    ({"access_key": "app", "model": "gpt-4o"}, [3, 4, 6]),
    ({"since": BEGIN + timedelta(minutes=1)}, [6]),
    ({"until": BEGIN + HOUR}, [0, 1, 2, 3, 4, 5]),
    ({"after": PLACES[2], "limit": 2}, [3, 4]),
    ({"tenant_id": TENANT, "after": PLACES[4]}, [6]),
    ({"after": PLACES[6]}, []),
]


class Records(TokenUsage, Protocol):
    def add(self, records: Sequence[TokenRecord]) -> str | None: ...


@pytest.fixture(params=["in memory", "on PostgreSQL"])
def records(request: pytest.FixtureRequest) -> Iterator[Records]:
    if request.param == "in memory":
        yield MemoryTokenUsage()
        return
    with open_store(request.getfixturevalue("database_url")) as store:
        yield PostgresTokenUsage(store.pool)


def record(place: TokenPlace, cost: str = "0.000001") -> TokenRecord:
    return TokenRecord(place, 3, 1, 1, 2, Tokens(10, 5, 4, 3, 2), Decimal(cost), place.hour)


def test_a_filter_finds_exactly_these(records: Records) -> None:
    records.add([record(place) for place in reversed(PLACES)])
    for wanted, numbers in FILTERS:
        found = records.page(TokenFilter(**wanted))  # type: ignore[arg-type]
        assert [one.place for one in found] == [PLACES[number] for number in numbers], wanted


def test_what_is_added_adds_up_exactly(records: Records) -> None:
    late = BEGIN + timedelta(minutes=2)
    records.add([replace(record(PLACES[0], "0.1"), last_used_at=late)])
    records.add([record(PLACES[0], "0.2")])
    expected = TokenRecord(PLACES[0], 6, 2, 2, 4, Tokens(20, 10, 8, 6, 4), Decimal("0.3"), late)
    assert list(records.page(TokenFilter())) == [expected]


def test_no_call_that_a_provider_may_claim_overflows_a_sum(records: Records) -> None:
    huge = replace(record(PLACES[0]), tokens=Tokens(*[TOKENS_MAX * 10**6] * 5), cost=Decimal(10**24))
    records.add([huge])
    records.add([huge])
    (found,) = records.page(TokenFilter())
    assert (found.tokens.input, found.cost) == (2 * TOKENS_MAX * 10**6, Decimal(2 * 10**24))


@pytest.mark.parametrize("place", PLACES)
def test_a_cursor_stands_for_its_place(place: TokenPlace) -> None:
    assert TokenPlace.read(place.cursor()) == place


@given(st.from_regex(CURSOR_PATTERN, fullmatch=True))
def test_every_text_of_the_form_is_a_cursor(cursor: str) -> None:
    assert TokenPlace.read(cursor).hour >= BEGIN.replace(year=1970, month=1, day=1, hour=0)


def test_other_texts_are_not_cursors() -> None:
    for cursor in ("", "x", PLACES[1].cursor()[:-1], PLACES[1].cursor().replace("openai", "Open AI")):
        with pytest.raises(ValueError, match="not a place"):
            TokenPlace.read(cursor)
