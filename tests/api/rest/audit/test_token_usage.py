"""Tokens and cost over HTTP: filters, pages, roles, and what is not known."""

from datetime import timedelta
from decimal import Decimal

import pytest

from domain.audit.request_events import AuditRead
from domain.audit.token_usage import TokenPlace, TokenRecord
from domain.calls.tokens import Tokens
from tests.api.conftest import OTHER_TENANT, START, TENANT

TOKENS = "/api/v1/audit/usage/tokens"
PLACE = TokenPlace(START, TENANT, "openai", 3, "app", "gpt-4o", "USD")


@pytest.fixture
def filled(harness):
    places = [PLACE._replace(hour=START + timedelta(hours=n), version=n) for n in range(4)]
    places.append(PLACE._replace(tenant_id=OTHER_TENANT, provider="vllm", access_key="", model=""))
    harness.tokens.add(
        [TokenRecord(one, 3, 1, 1, 1, Tokens(10, 5, 4, 3, 2), Decimal("0.0000012"), one.hour) for one in places]
    )
    return harness


def test_a_record_says_everything_and_money_is_a_decimal_text(filled):
    shown = filled.client.get(TOKENS, params={"tenant_id": TENANT, "version": 2}).json()
    assert shown == {
        "usage": [
            {
                "hour": "2026-01-31T14:00:00Z",
                "tenant_id": TENANT,
                "provider": "openai",
                "version": 2,
                "access_key": "app",
                "model": "gpt-4o",
                "calls": 3,
                "failures": 1,
                "calls_without_tokens": 1,
                "calls_without_cost": 1,
                "input_tokens": 10,
                "output_tokens": 5,
                "cached_tokens": 4,
                "cache_creation_tokens": 3,
                "reasoning_tokens": 2,
                "cost": "0.0000012",
                "currency": "USD",
                "last_used_at": "2026-01-31T14:00:00Z",
            }
        ],
        "prices": "none",
        "next": None,
    }


def test_filters_narrow_what_is_shown(filled):
    rows = [
        ({}, 5),
        ({"tenant_id": TENANT}, 4),
        ({"provider": "vllm"}, 1),
        ({"access_key": "app"}, 4),
        ({"model": "gpt-4o", "version": "0"}, 1),
        ({"since": "2026-01-31T13:00:00Z", "until": "2026-01-31T15:00:00Z"}, 2),
    ]
    for query, count in rows:
        assert len(filled.client.get(TOKENS, params=query).json()["usage"]) == count, query


def test_pages_follow_each_other_without_a_gap(filled):
    query: dict[str, str] | None = {"limit": "2"}
    found = []
    while query is not None:
        answer = filled.client.get(TOKENS, params=query)
        found += answer.json()["usage"]
        following = answer.json()["next"]
        assert ("link" in answer.headers) == (following is not None)
        query = {"limit": "2", "after": following} if following else None
    assert len({tuple(one.items()) for one in found}) == len(found) == 5


def test_a_cost_that_is_known_of_no_call_is_null(filled):
    place = PLACE._replace(access_key="free")
    filled.tokens.add([TokenRecord(place, 2, 0, 2, 2, Tokens(0, 0), Decimal(0), START)])
    (shown,) = filled.client.get(TOKENS, params={"access_key": "free"}).json()["usage"]
    assert (shown["cost"], shown["calls_without_cost"]) == (None, 2)


def test_another_text_than_a_cursor_is_refused_by_name(filled):
    answer = filled.client.get(TOKENS, params={"after": "W10"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "after")


def test_each_read_is_recorded(filled):
    filled.client.get(TOKENS, params={"tenant_id": TENANT})
    reads = [event for event in filled.log.events if isinstance(event, AuditRead)]
    assert [(one.view, one.query) for one in reads] == [("usage", f"tenant:{TENANT}")]
