"""A handler gets what its signature declares, and every request takes the same way to it."""

import json
import threading
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from api.front.error_middleware import ErrorMiddleware
from api.front.exchange import Exchange
from api.front.operation import Operation
from tests.api.conftest import CREDENTIALS, OTHER_TENANT, SUPER_KEY, TENANT, Harness
from tests.support.asgi import client_on

KEY = "sk-0123456789"
REQUESTS: dict[str, dict[str, Any]] = {
    "list": {"method": "GET", "url": CREDENTIALS},
    "list of nothing": {"method": "GET", "url": CREDENTIALS.replace(TENANT, OTHER_TENANT)},
    "list of a misspelt tenant": {"method": "GET", "url": CREDENTIALS.replace(TENANT, TENANT.upper())},
    "list with an unknown query parameter": {"method": "GET", "url": f"{CREDENTIALS}?key=x"},
    "set": {"method": "PUT", "url": f"{CREDENTIALS}/openai", "json": {"api_key": KEY}},
    "set without settings": {"method": "PUT", "url": f"{CREDENTIALS}/azure", "json": {"api_key": KEY}},
    "set for an unknown provider": {"method": "PUT", "url": f"{CREDENTIALS}/nobody", "json": {"api_key": KEY}},
    "set without a body": {"method": "PUT", "url": f"{CREDENTIALS}/openai"},
    "set a number": {"method": "PUT", "url": f"{CREDENTIALS}/openai", "json": {"api_key": 12345678}},
    "set an unknown field": {"method": "PUT", "url": f"{CREDENTIALS}/openai", "json": {"api_key": KEY, "apikey": KEY}},
    "set with a wrong key": {
        "method": "PUT",
        "url": f"{CREDENTIALS}/openai",
        "json": {"api_key": KEY},
        "headers": {"X-API-Key": "wrong-key-0123456789"},
    },
    "a method that is not there": {"method": "POST", "url": CREDENTIALS},
    "nothing": {"method": "GET", "url": f"{CREDENTIALS}/openai/nothing"},
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_answer_is_the_same_behind_a_prefix(name: str) -> None:
    assert _answer("", REQUESTS[name]) == _answer("/behind", REQUESTS[name])


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "once"}, {"If-None-Match": "*"}])
def test_a_body_is_parsed_once(headers: dict[str, str], harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    loads = json.loads

    def noted(text: str | bytes, **how: Any) -> Any:
        parsed.append(str(text))
        return loads(text, **how)

    monkeypatch.setattr(json, "loads", noted)

    assert harness.put(headers=headers).status_code == 200

    assert len([text for text in parsed if KEY in text]) == 1


def test_a_condition_and_an_idempotency_key_are_obeyed(harness: Harness) -> None:
    assert harness.put(headers={"If-None-Match": "*"}).status_code == 200
    assert harness.put(headers={"If-None-Match": "*"}).status_code == 412
    assert harness.put(headers={"If-Match": '"v7"'}).status_code == 412
    first, again = (harness.put("mistral", headers={"Idempotency-Key": "once"}) for _ in range(2))
    assert first.json()["version"] == again.json()["version"] == 1


def test_an_outage_is_answered_with_503(harness: Harness) -> None:
    harness.log.down = True
    for answer in (harness.client.get(CREDENTIALS), harness.put()):
        assert (answer.status_code, answer.json()["code"]) == (503, "store-unavailable")


class Colour(BaseModel):
    """An answer with a name that Python does not allow."""

    from_: str = Field(alias="from")


calls: list[str] = []


def counted(request: Request) -> int:
    calls.append(request.method)
    return len(calls)


Counted = Annotated[int, Depends(counted)]


def counted_again(first: Counted) -> int:
    return first


class TestSignature:
    """Everything that a signature may declare, on an application of its own."""

    router = APIRouter(route_class=Operation)

    @staticmethod
    @router.get("/colours/{number}", status_code=202)
    async def coroutine(
        *,
        number: int,
        response: Response,
        first: Counted,
        second: Annotated[int, Depends(counted_again)],
        shade: Annotated[int, Query(alias="of-shade", ge=0)],
        name: str = "red",
    ) -> Colour:
        response.headers["X-Found"] = f"{number} {first} {second} {shade} {name}"
        return Colour(**{"from": threading.current_thread().name})

    @staticmethod
    @router.get("/thread")
    def plain() -> Colour:
        return Colour(**{"from": threading.current_thread().name})

    @pytest.fixture
    def client(self) -> httpx2.Client:
        calls.clear()
        return client_on(_layered(self.router))

    def test_arguments_are_validated_and_defaults_filled_in(self, client: httpx2.Client) -> None:
        found = client.get("/colours/7?of-shade=3")
        assert (found.status_code, found.headers["X-Found"]) == (202, "7 1 1 3 red")
        assert list(found.json()) == ["from"]
        assert found.headers["Content-Length"] == str(len(found.content))

    def test_a_dependency_is_called_once_per_request(self, client: httpx2.Client) -> None:
        client.get("/colours/7?of-shade=3")
        assert calls == ["GET"]

    @pytest.mark.parametrize(
        ("address", "fields"),
        {
            "both wrong": ("/colours/x?of-shade=-1", {"number", "of-shade"}),
            "missing": ("/colours/7", {"of-shade"}),
        }.values(),
    )
    def test_all_that_is_wrong_is_said_at_once(self, address: str, fields: set[str], client: httpx2.Client) -> None:
        found = client.get(address)
        assert (found.status_code, {one["field"] for one in found.json()["errors"]}) == (422, fields)

    def test_a_plain_function_runs_in_a_thread(self, client: httpx2.Client) -> None:
        in_loop = client.get("/colours/7?of-shade=3").json()["from"]
        assert client.get("/thread").json()["from"] != in_loop


async def waits() -> int:
    return 1


def yields() -> Any:
    yield 1


@pytest.mark.parametrize("dependency", [waits, yields])
def test_a_dependency_that_waits_or_yields_is_refused(dependency: Any) -> None:
    async def handler(found: Annotated[int, Depends(dependency)]) -> Colour:
        raise NotImplementedError

    with pytest.raises(TypeError, match=dependency.__name__):
        APIRouter(route_class=Operation).add_api_route("/", handler)


def _layered(router: APIRouter) -> Any:
    inner = ErrorMiddleware(router, routes=router.routes)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["keyledger.exchange"] = Exchange("request-1")
        await inner(scope, receive, send)

    return app


def _answer(prefix: str, request: dict[str, Any]) -> tuple[int, object, dict[str, str]]:
    """Return the answer of a new service that holds one credential."""
    app = Harness().app
    client = client_on(app, {"X-API-Key": SUPER_KEY, "X-Request-ID": "request-1"}, root_path=prefix)
    assert client.put(f"{CREDENTIALS}/mistral", json={"api_key": KEY}).status_code == 200
    client.headers["X-Request-ID"] = "request-2"
    found = client.request(**request)
    return found.status_code, json.loads(found.text), dict(found.headers)
