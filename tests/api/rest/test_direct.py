"""What is answered past routing is answered as routing would: same status, body, headers and log line."""

import json
import logging
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.api.conftest import CREDENTIALS, OTHER_TENANT, SUPER_KEY, TENANT, Harness

KEY = "sk-0123456789"
# A prefix that a proxy adds is one of the things that send a request the long way.
REQUESTS: dict[str, dict[str, Any]] = {
    "list": {"method": "GET", "url": CREDENTIALS},
    "list of nothing": {"method": "GET", "url": CREDENTIALS.replace(TENANT, OTHER_TENANT)},
    "list of a tenant misspelt": {"method": "GET", "url": CREDENTIALS.replace(TENANT, TENANT.upper())},
    "list with a stranger's query": {"method": "GET", "url": f"{CREDENTIALS}?key=x"},
    "set": {"method": "PUT", "url": f"{CREDENTIALS}/openai", "json": {"api_key": KEY}},
    "replace": {"method": "PUT", "url": f"{CREDENTIALS}/mistral", "json": {"api_key": "sk-9876543210"}},
    "set what is set": {"method": "PUT", "url": f"{CREDENTIALS}/mistral", "json": {"api_key": KEY}},
    "set with settings": {
        "method": "PUT",
        "url": f"{CREDENTIALS}/azure",
        "json": {
            "api_key": KEY,
            "endpoint": "https://a.openai.azure.com",
            "api_version": "2024-10-21",
            "deployment_name": "d",
        },
    },
    "set without settings": {"method": "PUT", "url": f"{CREDENTIALS}/azure", "json": {"api_key": KEY}},
    "set for a stranger": {"method": "PUT", "url": f"{CREDENTIALS}/nobody", "json": {"api_key": KEY}},
    "set nothing": {"method": "PUT", "url": f"{CREDENTIALS}/openai"},
    "set what does not fit": {"method": "PUT", "url": f"{CREDENTIALS}/openai", "json": {"api_key": 12345678}},
    "set too much": {"method": "PUT", "url": f"{CREDENTIALS}/openai", "json": {"api_key": KEY, "apikey": KEY}},
    "set a short key": {"method": "PUT", "url": f"{CREDENTIALS}/openai", "json": {"api_key": "short"}},
    "set without a key of ours": {
        "method": "PUT",
        "url": f"{CREDENTIALS}/openai",
        "json": {"api_key": KEY},
        "headers": {"X-API-Key": "wrong-key-0123456789"},
    },
}


@pytest.mark.parametrize("name", REQUESTS)
def test_both_ways_give_the_same_answer(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="keyledger.access")
    direct, routed = _answer("", REQUESTS[name]), _answer("/behind", REQUESTS[name])

    assert direct == routed
    _, first, _, second = (record.__dict__ for record in caplog.records if record.name == "keyledger.access")
    assert {member: first[member] for member in ("method", "route", "status", "code", "actor")} == {
        member: second[member] for member in ("method", "route", "status", "code", "actor")
    }


def test_a_condition_and_an_idempotency_key_are_obeyed(harness: Harness) -> None:
    assert harness.put(headers={"If-None-Match": "*"}).status_code == 200
    assert harness.put(headers={"If-None-Match": "*"}).status_code == 412
    assert harness.put(headers={"If-Match": '"v7"'}).status_code == 412
    first, again = (harness.put("mistral", headers={"Idempotency-Key": "once"}) for _ in range(2))
    assert first.json()["version"] == again.json()["version"] == 1


def test_an_outage_is_told_on_both_ways(harness: Harness) -> None:
    harness.log.down = True
    for answer in (harness.client.get(CREDENTIALS), harness.put()):
        assert (answer.status_code, answer.json()["code"]) == (503, "store-unavailable")


def _answer(prefix: str, request: dict[str, Any]) -> tuple[int, object, dict[str, str]]:
    """Return the answer of a new service that holds one credential."""
    app = Harness().app
    client = TestClient(app, headers={"X-API-Key": SUPER_KEY, "X-Request-ID": "request-1"}, root_path=prefix)
    assert client.put(f"{CREDENTIALS}/mistral", json={"api_key": KEY}).status_code == 200
    client.headers["X-Request-ID"] = "request-2"
    found = client.request(**request)
    return found.status_code, json.loads(found.text), dict(found.headers)
