"""A relayed call: which provider receives it and how, its answer, and what is refused before anything is sent."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from domain.calls.models import Model, ModelKind
from domain.calls.native import NativeAnswer
from domain.calls.openai_routes import ROUTES, routes_of
from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.openai_route_names import ALL_ROUTES
from domain.errors import ErrorCode, RejectedCredentialError, ServiceError
from keyledger.llm.relayed.bodies import read_body
from keyledger.llm.requests.inference_routes import ROUTES as INFERENCE
from tests.keyledger.llm.native.global_rig import GlobalKeys, Sent
from tests.keyledger.llm.relayed.relay_rig import FORM, JSON, KeysOfPolicy, Rig, asking, form, reaching, target_of
from tests.keyledger.llm.rig import KEY
from tests.support.native_provider import native_provider

ACCOUNT = frozenset({"files", "batches"})
"""Groups of routes without a model."""


class GlobalKeysOfPolicy(GlobalKeys, KeysOfPolicy):
    """Resolves every provider that ships, to the platform's key."""


@pytest.fixture
def rig() -> Iterator[Rig]:
    with native_provider() as running:
        yield Rig(running)


@pytest.fixture
def platform() -> Iterator[Rig]:
    with native_provider() as running:
        yield Rig(running, GlobalKeysOfPolicy)


def test_rows_name_only_routes_that_exist() -> None:
    assert {route.group for route in ROUTES} == ALL_ROUTES
    assert all(row.routes <= ALL_ROUTES for row in BUILT_IN.values())
    inference = {route.group for route in ROUTES if route.names_model and route.path == route.group}
    assert inference <= set(INFERENCE), "the platform's key has to know what their bodies may have"
    assert not {route.path for route in ROUTES if not route.names_model} & set(INFERENCE)


def test_each_provider_receives_its_routes_with_its_own_name_of_the_model_and_its_key(rig: Rig) -> None:
    for name, row in BUILT_IN.items():
        for route in sorted(row.routes - ACCOUNT):
            heard = rig.sent(asking(route, {"x": 1.50, "model": f"our-{name}"}))
            azure = name == "azure"
            assert heard.target == target_of(name, route), (name, route)
            assert json.loads(heard.body) == {"x": 1.5, "model": "dep-1" if azure else f"up/{name}"}, (name, route)
            carried = KEY if row.key_header != "authorization" else f"Bearer {KEY}"
            assert heard.headers[row.key_header] == carried, (name, route)


def test_a_route_that_a_provider_has_not_is_refused_by_the_names_of_those_that_have_it(rig: Rig) -> None:
    for name, row in BUILT_IN.items():
        for route in sorted(ALL_ROUTES - row.routes - ACCOUNT):
            error = rig.refused(asking(route, {"model": f"our-{name}"}))
            assert error.code == ErrorCode.INVALID_REQUEST, (name, route)
            having = [other for other, one in BUILT_IN.items() if route in one.routes]
            assert f"is a model of {name}, which has no {route}" in error.detail, (name, route)
            assert all(other in error.detail for other in having), (name, route)
            assert ("call .../openai/v1/chat/completions" in error.detail) == (route == "responses")


def test_each_kind_of_model_has_its_routes_and_those_of_other_kinds_name_them(rig: Rig) -> None:
    for kind in ModelKind:
        for route in ROUTES:
            if route.group not in BUILT_IN["openai"].routes or not route.names_model:
                continue
            call = asking(route.path, {"model": f"our-{kind.value}"})
            if kind in route.kinds:
                rig.sent(call)
            else:
                assert f"model: is for {kind.value}; call {routes_of(kind)}" in rig.refused(call).detail


def test_of_a_body_nothing_but_the_model_changes(rig: Rig) -> None:
    body = b'{ "b" : 1.00000000000000000001 , "m\\u006fdel":"our-image", "a":{"model":"our-image"},"e":"\\u00e9\xc3"}\n'
    body = body.replace(b"\xc3", "é".encode())
    heard = rig.sent(asking("images/generations", body))
    assert heard.body == body.replace(b'"our-image"', b'"up-image"', 1)
    assert heard.headers["content-length"] == str(len(heard.body))


BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "syntax"),
    (b"[]", "the body: must be a JSON object"),
    (b"{}", "model: is required"),
    (b'{"model":7}', "model: is required"),
    (b'{"model":"our-image","model":"our-openai"}', "twice"),
    (b'{"model":"our-image","models":["x"]}', "models: is not supported here"),
    (b'{"model":"our-image","fallbacks":["x"]}', "fallbacks: is not supported here"),
    (b'{"model":"our-image","Fallback\\u017f":["x"]}', "fallbacks: is not supported here"),
    (b'{"model":"our-image","Model":"up-other"}', "in another spelling"),
    (b'{"model":"our-image"," model":"up-other"}', "in another spelling"),
    (b'\xef\xbb\xbf{"model":"our-image"}', "byte order mark"),
    (b'{"model":"unknown"}', "not in the catalogue"),
]


def test_a_body_without_one_certain_model_of_the_catalogue_is_refused(rig: Rig) -> None:
    for body, said in BAD_BODIES:
        error = rig.refused(asking("images/generations", body))
        assert said in getattr(error, "detail", ""), (body, error)


def test_media_types_that_hide_a_model_are_refused(rig: Rig) -> None:
    for headers in (
        (),
        ((b"content-type", b"text/plain"),),
        ((b"content-type", b"application/json; charset=utf-16"),),
        (*JSON, *JSON),
        (*JSON, (b"content-encoding", b"gzip")),
        FORM,
    ):
        error = rig.refused(asking("images/generations", b'{"model":"our-image"}', headers))
        assert "Content-Type: must be application/json" in error.detail, headers


def test_a_multipart_body_keeps_every_byte_but_the_model_wherever_that_comes(rig: Rig) -> None:
    sound = bytes(range(256)) * 2_000
    for fields in (
        [("model", b"our-transcription"), ("@file", sound)],
        [("@file", sound), ("model", b"our-transcription"), ("language", b"sv")],
        [("@file", b"short"), ("model", b"our-transcription")],
    ):
        body = form(*fields)
        pieces = Sent([body[at : at + 7_000] for at in range(0, len(body), 7_000)])
        whole = body if len(body) < 1_000 else pieces
        heard = rig.sent(asking("audio/transcriptions", whole, FORM, length=len(body)))
        assert heard.body == body.replace(b"our-transcription", b"up-transcription")
        assert heard.headers["content-length"] == str(len(heard.body))


NAMES = st.sampled_from(["prompt", "language", "@file", "@image[]"])
CONTENTS = st.binary(max_size=40).map(lambda content: content.replace(b"--B", b"--C"))


@given(
    st.lists(st.tuples(NAMES, CONTENTS), max_size=4),
    st.lists(st.tuples(NAMES, CONTENTS), max_size=4),
    st.integers(1, 60),
)
def test_however_a_form_arrives_only_its_model_is_replaced(before: Any, after: Any, size: int) -> None:
    body = form(*before, ("model", b"our-transcription"), *after)
    pieces = Sent([body[at : at + size] for at in range(0, len(body), size)])

    async def renamed() -> bytes:
        read = await read_body(asking("audio/transcriptions", pieces, FORM, length=len(body)))
        sent, length = await read.named("up")
        text = sent if isinstance(sent, bytes) else await sent.whole()
        assert length == len(text)
        return text

    assert asyncio.run(renamed()) == form(*before, ("model", b"up"), *after)


def test_a_multipart_body_is_refused_unless_its_model_is_certain_and_within_what_may_be_held(rig: Rig) -> None:
    model, file = ("model", b"our-transcription"), ("@file", b"x")
    far = Sent([form(("@file", b"x" * 1_000_000), model)[:1_000_000], *[b"x" * 1_000_000] * 9])
    refused: list[tuple[Any, str]] = [
        (form(file), "it has no model"),
        (form(model, model), "more than one model"),
        (form(model, ("models", b"x")), "models: is not supported here"),
        (form(model, ("MODEL", b"x")), "in another spelling"),
        (form(model, file)[:-8], "ends before its last boundary"),
        (form(("model", b"unknown"), file), "not in the catalogue"),
        (far, "within the first 8192 KiB"),
    ]
    for body, said in refused:
        assert said in rig.refused(asking("audio/transcriptions", body, FORM)).detail, said


def test_what_is_held_of_a_body_is_counted_until_its_model_is_known(rig: Rig) -> None:
    held: list[int] = []
    body = form(("@file", b"x" * 300_000), ("model", b"our-transcription"), ("@more", b"y" * 900_000))
    pieces = Sent([body[at : at + 10_000] for at in range(0, len(body), 10_000)])
    rig.sent(asking("audio/transcriptions", pieces, FORM, hold=held.append))
    assert sum(held) == 300_000


def test_the_call_begins_once_the_model_is_known_and_before_anything_is_sent(rig: Rig) -> None:
    class FullError(Exception):
        pass

    def full(provider: str, model: Model | None) -> None:
        assert (provider, model and model.name) == ("openai", "our-image")
        raise FullError

    assert isinstance(rig.refused(asking("images/generations", {"model": "our-image"}, begin=full)), FullError)


def test_a_refusal_of_the_provider_is_passed_on_and_a_rejected_key_is_an_error_of_ours(rig: Rig) -> None:
    for status in (400, 403, 404, 429, 500):

        async def answer(request: web.Request, status: int = status) -> web.Response:
            return web.json_response({"error": {"message": KEY}}, status=status)

        rig.provider.answer = answer
        answered, body, _ = rig.run(asking("moderations", {"model": "our-moderation"}))
        assert isinstance(answered, NativeAnswer)
        assert (answered.status, json.loads(body)) == (status, {"error": {"message": "[redacted]"}})

    async def reject(request: web.Request) -> web.Response:
        return web.json_response({}, status=401)

    rig.provider.answer = reject
    outcome, _, _ = rig.run(asking("moderations", {"model": "our-moderation"}))
    assert isinstance(outcome, RejectedCredentialError)


def test_a_stream_arrives_without_its_key_and_ends_with_an_error_where_the_provider_s_does_not_end(rig: Rig) -> None:
    delta = b'data: {"choices":[{"index":0,"text":"%s","finish_reason":null}]}\n\n' % KEY.encode()
    last = b'data: {"choices":[{"index":0,"text":"","finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    for sent, broken in ((delta + last, False), (delta, True), (delta + last[:-20], True)):

        async def answer(request: web.Request, sent: bytes = sent) -> web.Response:
            return web.Response(body=sent, content_type="text/event-stream")

        rig.provider.answer, rig.meter.told[:] = answer, []
        answered, body, error = rig.run(asking("completions", {"model": "our-openai", "stream": True}))
        assert isinstance(answered, NativeAnswer)
        assert answered.events
        assert body.startswith(delta.replace(KEY.encode(), b"[redacted]"))
        assert (error is not None) == broken == (not body.endswith(b"[DONE]\n\n"))
        if broken:
            assert (getattr(error, "code", ""), getattr(error, "reason", "")) == (
                ErrorCode.PROVIDER_UNAVAILABLE,
                "answer-cut-off",
            )
        (told,) = rig.meter.told
        assert told.failed == broken


def test_the_platform_s_key_relays_inference_with_known_members_and_nothing_that_keeps_state(platform: Rig) -> None:
    heard = platform.sent(asking("images/generations", {"model": "our-image", "prompt": "a cat", "n": 2}))
    assert json.loads(heard.body) == {"model": "up-image", "prompt": "a cat", "n": 2}
    platform.sent(asking("moderations", {"model": "our-moderation", "input": "hi"}))
    body = form(("model", b"our-transcription"), ("@file", b"x"))
    assert platform.sent(asking("audio/transcriptions", body, FORM)).body == body.replace(b"our-", b"up-")
    for route, members in (
        ("images/generations", {"model": "our-image", "new_member": 1}),
        ("completions", {"model": "our-openai", "store": True}),
        ("moderations", {"model": "our-moderation", "input": {"file_id": "file-1"}}),
    ):
        error = platform.refused(asking(route, members))
        assert isinstance(error, ServiceError)
        assert error.code == ErrorCode.GLOBAL_KEY_NOT_ALLOWED, route
    late = form(("@file", b"x" * 100), ("model", b"our-transcription"))
    assert "before any file" in platform.refused(asking("audio/transcriptions", late, FORM)).detail


def test_a_legacy_model_is_served_by_the_platform_s_key_alone(rig: Rig) -> None:
    answer, _, _ = rig.run(asking("completions", {"model": "our-legacy", "prompt": "hi"}))
    assert isinstance(answer, NativeAnswer)
    assert answer.receipt.source.value == "global"


def test_a_provider_that_is_not_asked_sees_nothing_of_a_query_s_keys(rig: Rig) -> None:
    heard = rig.sent(asking("rerank", {"model": "our-vllm"}, query="a=1&api_key=x"))
    assert heard.target.endswith("/rerank?a=1")


def test_a_route_without_a_model_goes_to_the_provider_that_is_named_and_as_it_is(rig: Rig) -> None:
    for method, path in (
        ("GET", "responses/resp_1"),
        ("DELETE", "responses/resp_1"),
        ("POST", "responses/resp_1/cancel"),
        ("GET", "responses/resp_1/input_items"),
        ("POST", "files"),
        ("GET", "files/file-1/content"),
        ("POST", "batches"),
    ):
        group = path.partition("/")[0]
        for name, row in BUILT_IN.items():
            body = b'{"model": "our-openai"}' if method == "POST" else b""
            call = reaching(method, path, name, body=body, query="after=1")
            if group not in row.routes:
                assert f"provider: {name} has no {group}" in rig.refused(call).detail
                continue
            heard = rig.sent(call)
            assert heard.target == target_of(name, path, "after=1")
            assert (heard.method, heard.body) == (method, body)


def test_a_route_without_a_model_needs_the_name_of_a_known_provider(rig: Rig) -> None:
    assert "provider: is required in the query" in rig.refused(reaching("GET", "files", None)).detail
    assert rig.refused(reaching("GET", "files", "acme")).code == ErrorCode.UNKNOWN_PROVIDER
    other = asking("responses", {"model": "our-openai"}, provider="azure")
    assert "provider: is not the model's, which is openai" in rig.refused(other).detail
    rig.sent(asking("responses", {"model": "our-openai"}, provider="openai"))


def test_the_platform_s_key_stores_no_response_and_reaches_none(platform: Rig) -> None:
    heard = platform.sent(asking("responses", {"model": "our-openai", "input": "hi"}))
    assert json.loads(heard.body) == {"model": "up/openai", "input": "hi", "store": False}
    refused = [
        asking("responses", {"model": "our-openai", "input": "hi", "store": True}),
        asking("responses", {"model": "our-openai", "input": "hi", "background": True}),
        asking("responses", {"model": "our-openai", "previous_response_id": "resp_1"}),
        asking("responses/compact", {"model": "our-openai", "previous_response_id": "resp_1"}),
        *(reaching(route.method, route.path.format(id="x_1")) for route in ROUTES if not route.names_model),
    ]
    for call in refused:
        assert platform.refused(call).code == ErrorCode.GLOBAL_KEY_NOT_ALLOWED, call.path
    platform.opened = ("openai:*:**",)
    for call in refused[4:]:
        assert platform.refused(call).code == ErrorCode.GLOBAL_KEY_NOT_ALLOWED, call.path


def test_a_stream_of_a_response_is_whole_with_its_last_event_alone(rig: Rig) -> None:
    def said(kind: str) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': 1})}\n\n".encode()

    begun = said("response.created") + said("response.output_text.delta")
    for last in ("response.completed", "response.incomplete", "response.failed", "response.in_progress", "error"):
        sent = begun + said(last)

        async def answer(request: web.Request, sent: bytes = sent) -> web.Response:
            return web.Response(body=sent, content_type="text/event-stream")

        rig.provider.answer = answer
        for call in (
            asking("responses", {"model": "our-openai", "stream": True}),
            reaching("GET", "responses/resp_1", query="stream=true"),
        ):
            _, body, error = rig.run(call)
            assert body == sent
            assert (error is None) == (last in {"response.completed", "response.incomplete", "response.failed"})
