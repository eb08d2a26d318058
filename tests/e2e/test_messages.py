"""The official `anthropic` client with models of a provider that has its API, and of one that has not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import yaml
from aiohttp import web

from api.front.paths import ACCESS_KEYS
from tests.support.lazily import Lazily
from tests.support.native_provider import NativeProvider, native_provider
from tests.support.postgres import TemplatedServer
from tests.support.service import ADMIN_KEY, Client, client_of, environment, served

if TYPE_CHECKING:
    import anthropic
else:
    anthropic = Lazily("anthropic")

TENANT, OTHER, KEY, PLATFORM_KEY = str(uuid4()), str(uuid4()), f"sk-tenant-{uuid4().hex}", f"sk-global-{uuid4().hex}"
CATALOGUE: dict[str, list[dict[str, Any]]] = {
    "completion_models": [
        {"name": "our-claude", "litellm_model_name": "anthropic/claude-sonnet-5"},
        {"name": "our-gpt", "litellm_model_name": "openai/gpt-4o"},
        {"name": "our-mistral", "litellm_model_name": "mistral/mistral-large"},
    ],
    "embedding_models": [{"name": "our-embedder", "litellm_model_name": "openai/text-embedding-3-small"}],
}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5",
    "content": [{"type": "text", "text": "Hello", "citations": None}],
    "stop_reason": "stop_sequence",
    "stop_sequence": "END",
    "usage": {"input_tokens": 9, "output_tokens": 1, "service_tier": "standard"},
    "new_member": 1,
}
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 1},
    },
    {"type": "message_stop"},
]
CALL = {"index": 0, "id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Malmo"}'}}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
TOOL: Any = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
HELLO: Any = [{"role": "user", "content": "hello"}]


@dataclass(frozen=True)
class Stage:
    url: str
    client: Client
    provider: NativeProvider

    def claude(self, tenant: str = TENANT, key: str = ADMIN_KEY) -> anthropic.Anthropic:
        base = f"{self.url}/api/v1/tenants/{tenant}/anthropic"
        return anthropic.Anthropic(base_url=base, api_key=key, max_retries=0)


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    models = tmp_path_factory.mktemp("models") / "ai_models.yml"
    models.write_text(yaml.safe_dump(CATALOGUE), encoding="utf-8")
    with ExitStack() as stack:
        provider = stack.enter_context(native_provider())
        settings = environment(
            AI_MODELS_FILE=str(models),
            OPENAI_API_BASE=f"{provider.url}/v1",
            MISTRAL_API_BASE=f"{provider.url}/v1",
            ANTHROPIC_API_BASE=provider.url,
            ANTHROPIC_API_KEY=PLATFORM_KEY,
        )
        database_url = stack.enter_context(postgres_server.fresh_database())
        url = stack.enter_context(served(database_url, settings))
        client = stack.enter_context(client_of(url))
        for name in ("openai", "mistral", "anthropic"):
            assert client.put(TENANT, name, api_key=KEY).status_code == 200
        yield Stage(url, client, provider)


@pytest.fixture(autouse=True)
def quiet(stage: Stage) -> None:
    stage.provider.heard.clear()
    stage.provider.answer = _answer


def _sse(*events: dict[str, Any], named: bool) -> web.Response:
    lines = [f"event: {one['type']}\n" if named else "" for one in events]
    text = "".join(f"{line}data: {json.dumps(one)}\n\n" for line, one in zip(lines, events, strict=True))
    return web.Response(text=text + ("" if named else "data: [DONE]\n\n"), content_type="text/event-stream")


async def _answer(request: web.Request) -> web.StreamResponse:
    body = json.loads(await request.read())
    if request.path == "/v1/messages/count_tokens":
        return web.json_response({"input_tokens": 9})
    if request.path == "/v1/messages":
        return _sse(*EVENTS, named=True) if body.get("stream") else web.json_response(MESSAGE)
    calls, reason = ([CALL], "tool_calls") if body.get("tools") else (None, "stop")
    head = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
    said = {"role": "assistant", "content": "Hello", **({"tool_calls": calls} if calls else {})}
    if body.get("stream"):
        deltas: list[dict[str, Any]] = [{"content": "Hel"}, {"content": "lo"}]
        deltas += [{"tool_calls": calls}] if calls else []
        chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        end = {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
        return _sse(*chunks, end, {**head, "choices": [], "usage": USAGE}, named=False)
    return web.json_response(
        {**head, "choices": [{"index": 0, "message": said, "finish_reason": reason}], "usage": USAGE}
    )


def test_a_provider_with_this_api_gets_the_request_and_its_answer_is_passed_on(stage: Stage) -> None:
    with stage.claude() as claude:
        answer = claude.messages.create(
            model="our-claude",
            max_tokens=9,
            messages=HELLO,
            extra_body={"member_of_tomorrow": [1]},
            extra_headers={"anthropic-beta": "tomorrow"},
        )
        assert claude.messages.count_tokens(model="our-claude", messages=HELLO).input_tokens == 9
    assert answer.model_dump(exclude_unset=True) == MESSAGE
    asked, counted = stage.provider.heard
    assert json.loads(asked.body) == {
        "model": "claude-sonnet-5",
        "max_tokens": 9,
        "messages": HELLO,
        "member_of_tomorrow": [1],
    }
    assert (asked.headers["x-api-key"], asked.headers["anthropic-beta"]) == (KEY, "tomorrow")
    assert json.loads(counted.body)["model"] == "claude-sonnet-5"
    assert not any(ADMIN_KEY in str(heard.headers) for heard in stage.provider.heard)


@pytest.mark.parametrize("model", ["our-claude", "our-gpt", "our-mistral"])
def test_streams_of_every_provider(stage: Stage, model: str) -> None:
    with stage.claude() as claude, claude.messages.stream(model=model, max_tokens=9, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == "Hello"
        assert stream.get_final_message().stop_reason == "end_turn"


def test_counts_that_no_one_sent_are_not_made_up(stage: Stage) -> None:
    async def uncounted(request: web.Request) -> web.StreamResponse:
        chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}]}
        return _sse(chunk, named=False)

    stage.provider.answer = uncounted
    with stage.claude() as claude, claude.messages.stream(model="our-gpt", max_tokens=9, messages=HELLO) as stream:
        usage: Any = stream.get_final_message().usage
    assert (usage.input_tokens, usage.output_tokens) == (None, None)


@pytest.mark.parametrize("model", ["our-gpt", "our-mistral"])
def test_a_model_of_another_provider_calls_tools(stage: Stage, model: str) -> None:
    with stage.claude() as claude:
        answer = claude.messages.create(model=model, max_tokens=9, messages=HELLO, tools=[TOOL])
        with claude.messages.stream(model=model, max_tokens=9, messages=HELLO, tools=[TOOL]) as stream:
            streamed = stream.get_final_message()
    for one in (answer, streamed):
        text, used = one.content
        assert (text.type, used.type, one.stop_reason, one.model) == ("text", "tool_use", "tool_use", model)
        assert used.type == "tool_use"
        assert (used.name, used.input) == ("weather", {"city": "Malmo"})
        assert (one.usage.input_tokens, one.usage.output_tokens) == (9, 3)
    assert {heard.headers["authorization"] for heard in stage.provider.heard} == {f"Bearer {KEY}"}


def test_a_stream_that_is_cut_off_is_an_error_for_every_provider(stage: Stage) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        native = request.path == "/v1/messages"
        half = EVENTS[:4] if native else [{"id": "c", "choices": [{"index": 0, "delta": {"content": "Hel"}}]}]
        text = "".join(f"event: {one.get('type', '')}\ndata: {json.dumps(one)}\n\n" for one in half)
        return web.Response(text=text, content_type="text/event-stream")

    stage.provider.answer = cut
    for model in ("our-claude", "our-gpt"):
        with (
            stage.claude() as claude,
            pytest.raises(anthropic.APIStatusError, match="answer-cut-off"),
            claude.messages.stream(model=model, max_tokens=9, messages=HELLO) as stream,
        ):
            stream.until_done()


def test_errors_have_the_form_of_the_api(stage: Stage) -> None:
    with stage.claude() as claude:
        with pytest.raises(anthropic.UnprocessableEntityError) as refused:
            claude.messages.create(model="our-gpt", max_tokens=9, messages=HELLO, extra_body={"container": "c"})
        assert isinstance(refused.value.body, dict)
        assert (refused.value.body["type"], refused.value.body["error"]["type"]) == ("error", "invalid_request_error")
        with pytest.raises(anthropic.NotFoundError) as unknown:
            claude.messages.create(model="no-model", max_tokens=9, messages=HELLO)
        assert isinstance(unknown.value.body, dict)
        assert unknown.value.body["error"]["type"] == "not_found_error"
        with pytest.raises(anthropic.UnprocessableEntityError, match="embeddings"):
            claude.messages.create(model="our-embedder", max_tokens=9, messages=HELLO)
        with pytest.raises(anthropic.UnprocessableEntityError, match="counts no tokens"):
            claude.messages.count_tokens(model="our-gpt", messages=HELLO)
    with stage.claude(key="no-key-of-the-service") as stranger, pytest.raises(anthropic.AuthenticationError):
        stranger.messages.create(model="our-gpt", max_tokens=9, messages=HELLO)
    assert stage.provider.heard == []


def test_the_global_key_serves_messages_without_state_only(stage: Stage) -> None:
    with stage.claude(OTHER) as claude:
        assert claude.messages.create(model="our-claude", max_tokens=9, messages=HELLO).id == "msg_1"
        assert stage.provider.heard[-1].headers["x-api-key"] == PLATFORM_KEY
        stage.provider.heard.clear()
        with pytest.raises(anthropic.PermissionDeniedError):
            claude.messages.create(model="our-claude", max_tokens=9, messages=HELLO, extra_body={"container": "c"})
    assert stage.provider.heard == []


def test_a_tenant_s_rejected_key_is_an_error_and_never_the_platform_s(stage: Stage) -> None:
    async def rejected(request: web.Request) -> web.StreamResponse:
        said = {"type": "error", "error": {"type": "authentication_error", "message": f"bad key {KEY}"}}
        return web.json_response(said, status=401)

    stage.provider.answer = rejected
    with stage.claude() as claude:
        for model in ("our-claude", "our-gpt"):
            with pytest.raises(anthropic.APIStatusError) as refused:
                claude.messages.create(model=model, max_tokens=9, messages=HELLO)
            assert refused.value.status_code == 424
            assert KEY not in refused.value.response.text
    assert {heard.headers.get("x-api-key") or heard.headers["authorization"] for heard in stage.provider.heard} == {
        KEY,
        f"Bearer {KEY}",
    }


def test_a_key_limited_to_models_and_surfaces_calls_nothing_else(stage: Stage) -> None:
    wanted = {
        "name": "claude-code",
        "role": "runtime",
        "tenants": [TENANT],
        "models": ["our-gpt"],
        "surfaces": ["messages"],
    }
    made = stage.client.http.post(ACCESS_KEYS, json=wanted)
    assert made.status_code == 201, made.text
    token = made.json()["token"]
    with stage.claude(key=token) as claude:
        assert claude.messages.create(model="our-gpt", max_tokens=9, messages=HELLO).content
        stage.provider.heard.clear()
        with pytest.raises(anthropic.PermissionDeniedError):
            claude.messages.create(model="our-claude", max_tokens=9, messages=HELLO)
    with stage.claude(OTHER, token) as claude, pytest.raises(anthropic.PermissionDeniedError):
        claude.messages.create(model="our-gpt", max_tokens=9, messages=HELLO)
    chat = stage.client.http.post(
        f"/api/v1/tenants/{TENANT}/openai/v1/chat/completions",
        json={"model": "our-gpt", "messages": HELLO},
        headers={"X-API-Key": token},
    )
    assert chat.status_code == 403
    assert stage.provider.heard == []


@pytest.mark.parametrize("member", ["fallbacks", "models", "Model"])
def test_a_request_names_no_model_but_the_one_that_was_checked(stage: Stage, member: str) -> None:
    more = {member: [{"model": "claude-opus-5"}]}
    for model in ("our-claude", "our-gpt"):
        with stage.claude() as claude, pytest.raises(anthropic.UnprocessableEntityError):
            claude.messages.create(model=model, max_tokens=9, messages=HELLO, extra_body=more)
    assert stage.provider.heard == []
