"""`keyledger audit tokens`: a table for people, the service's answer for programs."""

import json

import pytest

from api.rest.examples import TOKENS
from scripts.terminal.exits import Exit
from tests.scripts.commands.test_credentials import ADMIN, TENANT, env, service

__all__ = ["env", "service"]

RECORD: dict[str, object] = TOKENS["usage"][0]  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def answering(service):
    service.document = TOKENS


def test_records_are_a_table_and_the_price_table_is_named(cli, service, env):
    ended = cli("audit", "tokens", "--wide", env=env)
    assert ended.code == Exit.OK
    assert "prices in force: LiteLLM 1.99.4" in ended.err
    for text in ("billing-app", "gpt-4o", "480000", "36000", "120000", "1.41000000", "USD", "tokens unknown"):
        assert text in ended.out
    method, path, headers, _ = service.arrived[0]
    assert (method, path, headers["X-API-Key"]) == ("GET", "/api/v1/audit/usage/tokens?limit=100", ADMIN)


def test_a_cost_that_is_not_known_is_not_a_cost_of_nothing(cli, service, env):
    service.document = {**TOKENS, "usage": [{**RECORD, "cost": None}]}
    assert "unknown" in cli("audit", "tokens", "--wide", env=env).out.split("\n", 1)[1]


def test_filters_become_the_query(cli, service, env):
    of = ("--tenant", TENANT, "--provider", "openai", "--version", "0", "--access-key", "app", "--model", "a/b")
    cli("audit", "tokens", *of, "--since", "2026-02-01T00:00:00Z", "--after", "491628.x", "--limit", "7", env=env)
    assert service.arrived[0][1] == (
        f"/api/v1/audit/usage/tokens?tenant_id={TENANT}&provider=openai&version=0&access_key=app&model=a%2Fb"
        "&since=2026-02-01T00%3A00%3A00Z&after=491628.x&limit=7"
    )


def test_json_is_the_answer_of_the_service_and_nothing_is_said_of_no_records(cli, service, env):
    assert json.loads(cli("audit", "tokens", "--json", env=env).out) == service.document
    service.document = {**TOKENS, "usage": []}
    assert "no call was counted" in cli("audit", "tokens", env=env).err
