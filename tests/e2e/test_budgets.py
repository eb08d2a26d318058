"""Budgets of access keys over the whole service: plain and streamed calls, two nodes, and the errors of callers."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from scripts.demo.stand_in_provider import StandInProvider
from tests.support.each import each
from tests.support.postgres import TemplatedServer
from tests.support.service import Client, client_of, environment, served

TENANT = str(uuid4())
CHAT = f"/api/v1/tenants/{TENANT}/openai/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 7}
"""Costs 5 and 7 tokens at the stand-in."""


@dataclass(frozen=True)
class Stage:
    """Two nodes on one database, with a price for gpt-4o only."""

    one: Client
    other: Client

    def key(self, **limits: object) -> dict[str, str]:
        body = {"name": f"app-{uuid4()}", "role": "runtime", "surfaces": ["openai", "messages"], **limits}
        made = self.one.http.post("/api/v1/sysadmin/access-keys", json=body)
        assert made.status_code == 201, made.text
        return {"X-API-Key": made.json()["token"]}


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    prices = Path(tmp_path_factory.mktemp("prices")) / "prices.yml"
    prices.write_text("currency: EUR\nprices: [{provider: openai, model: gpt-4o, input: 1000, output: 10000}]\n")
    with ExitStack() as stack:
        provider = stack.enter_context(StandInProvider(accepted=lambda key: True))
        database_url = stack.enter_context(postgres_server.fresh_database())
        settings = environment(
            OPENAI_API_BASE=provider.url,
            OPENAI_API_KEY="sk-global-0123456789",
            MISTRAL_API_BASE=f"{provider.url}/mistral/v1",
            MISTRAL_API_KEY="sk-global-1123456789",
            PRICES_FILE=str(prices),
        )
        yield Stage(
            *(stack.enter_context(client_of(stack.enter_context(served(database_url, settings)))) for _ in "12")
        )


def chat(client: Client, key: dict[str, str], model: str = "gpt-4o", **more: object) -> httpx.Response:
    return client.http.post(CHAT, json={**HELLO, "model": model, **more}, headers=key)


def test_calls_on_both_nodes_share_one_budget_of_tokens_and_a_refused_one_says_when_to_come_back(stage: Stage) -> None:
    key = stage.key(tokens_per_day=40)
    served_calls = 0
    for stream in (False, True) * 5:
        for client in (stage.one, stage.other):
            answer = chat(client, key, stream=stream)
            served_calls += answer.status_code == 200
    assert 1 <= served_calls <= 5
    for client in (stage.one, stage.other):
        answer = chat(client, key)
        assert (answer.status_code, answer.json()["code"]) == (429, "budget-reached"), answer.text
        assert answer.json()["error"]["type"] == "rate_limit_error"
        assert 1 <= int(answer.headers["Retry-After"]) <= 86_401


def test_a_budget_of_spend_counts_cost_and_refuses_models_without_a_price_by_name(stage: Stage) -> None:
    key = stage.key(spend_per_month="0.20")
    refused = chat(stage.one, key, "mistral-small")
    assert (refused.status_code, refused.json()["code"]) == (403, "model-without-price")
    assert "mistral-small" in refused.json()["detail"]
    answers = [chat(stage.one, key).status_code for _ in range(5)]
    assert answers == [200, 200, 200, 429, 429], "0.075 EUR each"
    name = stage.one.http.get("/api/v1/sysadmin/access-keys", params={"limit": 1000}).json()["access_keys"]
    (named,) = [one["name"] for one in name if one["spend_per_month"] == "0.20"]
    (shown,) = stage.one.http.get("/api/v1/audit/usage/tokens", params={"access_key": named}).json()["usage"]
    assert (shown["model"], shown["calls"], shown["input_tokens"], shown["output_tokens"]) == ("gpt-4o", 3, 15, 21)
    assert (Decimal(shown["cost"]), shown["currency"]) == (Decimal("0.225"), "EUR")


def test_raising_a_budget_admits_the_next_call_and_a_call_that_costs_nothing_is_never_refused(stage: Stage) -> None:
    key = stage.key(tokens_per_day=12)
    assert [chat(stage.one, key).status_code for _ in range(2)] == [200, 429]
    assert stage.one.http.get(f"/api/v1/tenants/{TENANT}/openai/v1/models", headers=key).status_code == 200
    keys = stage.one.http.get("/api/v1/sysadmin/access-keys", params={"limit": 1000}).json()["access_keys"]
    (name,) = [one["name"] for one in keys if one["tokens_per_day"] == 12]
    changed = stage.one.http.patch(f"/api/v1/sysadmin/access-keys/{name}", json={"tokens_per_day": 24})
    assert changed.json()["tokens_per_day"] == 24
    assert [chat(stage.one, key).status_code for _ in range(2)] == [200, 429]


def test_calls_of_a_providers_own_api_and_messages_share_a_budget_of_tokens(stage: Stage) -> None:
    key = stage.key(surfaces=["native", "messages"], tokens_per_day=24)
    message = {"model": "gpt-4o", "max_tokens": 7, "messages": HELLO["messages"]}
    path = f"/api/v1/tenants/{TENANT}"
    native = f"{path}/providers/openai/v1/chat/completions"

    def called(address: str) -> int:
        return stage.one.http.post(address, json=message, headers=key).status_code

    answers = [called(native), called(f"{path}/anthropic/v1/messages"), called(f"{path}/anthropic/v1/messages")]
    assert answers == [200, 200, 429]
    assert called(native) == 429
    listed = stage.one.http.get(f"{path}/openai/v1/models", headers=key)
    assert listed.status_code == 403, "it is not of this surface"


UNCOUNTED = {
    "a batch": "openai/v1/batches?provider=openai",
    "a batch of a provider's own API": "providers/openai/v1/batches",
    "a batch in another spelling": "providers/openai/v1/b%61tches",
    "a batch of another provider": "providers/anthropic/v1/messages/batches",
    "a batch of a model": "providers/gemini/v1beta/models/gemini-2.5-flash:batchGenerateContent",
    "fine-tuning": "providers/openai/v1/fine_tuning/jobs",
}


@each("path", UNCOUNTED.values(), UNCOUNTED)
def test_what_a_budget_cannot_count_is_refused_to_a_key_that_has_one(stage: Stage, path: str) -> None:
    tenant = str(uuid4())
    for provider in ("openai", "anthropic", "gemini"):
        stage.one.put(tenant, provider, api_key=f"sk-own-{uuid4().hex}")
    key = stage.key(surfaces=["native", "openai"], tokens_per_day=1_000_000)
    answer = stage.one.http.post(f"/api/v1/tenants/{tenant}/{path}", headers=key, json={"input_file_id": "file-1"})
    assert (answer.status_code, answer.json()["code"]) == (403, "outside-scope"), answer.text
    assert "has a budget" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"surfaces": None, "spend_per_month": "1"}, "surfaces"),
        ({"role": "auditor", "surfaces": None, "tokens_per_day": 5}, "tokens_per_day"),
        ({"spend_per_month": "-1"}, "spend_per_month"),
        ({"spend_per_month": 1.5}, "spend_per_month"),
        ({"spend_per_month": "1e3"}, "spend_per_month"),
        ({"tokens_per_day": True}, "tokens_per_day"),
        ({"tokens_per_day": -1}, "tokens_per_day"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused_by_name(stage: Stage, body: dict[str, object], field: str) -> None:
    whole = {"name": f"app-{uuid4()}", "role": "runtime", "surfaces": ["openai"], **body}
    answer = stage.one.http.post("/api/v1/sysadmin/access-keys", json=whole)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
