"""The answers of a stand-in provider: chat and embeddings as OpenAI does, messages as Anthropic does, and models."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from scripts.demo.misbehaviour import Failure, Misbehaviour, spoilt
from scripts.demo.received_request import Received

Answer = tuple[int, dict[str, str], bytes | Iterator[bytes]]
"""Status, headers, and a whole body or the events of a stream."""

JSON = {"content-type": "application/json"}
_ARGUMENTS = ('{"city":', ' "Uppsala"}')
_USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def _chat(request: Received, headers: dict[str, str], wrong: Misbehaviour | None) -> Answer:
    body, text = request.body, _text(request, wrong)
    with_tools = bool(body.get("tools"))
    shared = {"id": "chatcmpl-1", "created": 1, "model": body.get("model", "deployed")}
    if body.get("stream"):
        counted = "/mistral/" in request.path or bool((body.get("stream_options") or {}).get("include_usage"))
        events = _chat_events(body, shared, text, with_tools=with_tools, counted=counted)
        return 200, headers, spoilt(request, wrong, events)
    message: dict[str, Any] = {"role": "assistant", "content": None if with_tools else text}
    if with_tools:
        message["tool_calls"] = [_tool_call(body, "".join(_ARGUMENTS))]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if with_tools else "stop"}
    answer = {**shared, "object": "chat.completion", "choices": [choice], "usage": _USAGE}
    return 200, {**JSON, **headers}, json.dumps(answer).encode()


def _tool_call(body: dict[str, Any], arguments: str) -> dict[str, Any]:
    name = body["tools"][0]["function"]["name"]
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


def _chat_events(
    body: dict[str, Any], shared: dict[str, Any], text: str, *, with_tools: bool, counted: bool
) -> Iterator[bytes]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None if with_tools else ""}]
    if with_tools:
        deltas.append({"tool_calls": [{"index": 0, **_tool_call(body, _ARGUMENTS[0])}]})
        deltas.append({"tool_calls": [{"index": 0, "function": {"arguments": _ARGUMENTS[1]}}]})
    else:
        deltas += [{"content": word} for word in re.findall(r"\S+\s*", text)]
    for delta in deltas:
        yield _event({**shared, "object": "chat.completion.chunk", "choices": [_choice(delta, None)]})
    last = _choice({}, "tool_calls" if with_tools else "stop")
    yield _event({**shared, "object": "chat.completion.chunk", "choices": [last]})
    if counted:
        yield _event({**shared, "object": "chat.completion.chunk", "choices": [], "usage": _USAGE})
    yield b"data: [DONE]\n\n"


def _choice(delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


def _messages(request: Received, headers: dict[str, str], wrong: Misbehaviour | None) -> Answer:
    body, text = request.body, _text(request, wrong)
    block: dict[str, Any] = {"type": "text", "text": text}
    if body.get("tools"):
        name = body["tools"][0]["name"]
        block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": json.loads("".join(_ARGUMENTS))}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [block],
        "stop_reason": "tool_use" if body.get("tools") else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 7},
    }
    if body.get("stream"):
        return 200, headers, spoilt(request, wrong, _message_events(message, block))
    return 200, {**JSON, **headers}, json.dumps(message).encode()


def _message_events(message: dict[str, Any], block: dict[str, Any]) -> Iterator[bytes]:
    start = {**message, "content": [], "stop_reason": None, "usage": {"input_tokens": 5, "output_tokens": 1}}
    yield _named_event("message_start", message=start)
    if block["type"] == "tool_use":
        opened, deltas = {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": a} for a in _ARGUMENTS]
    else:
        words = re.findall(r"\S+\s*", block["text"])
        opened, deltas = {"type": "text", "text": ""}, [{"type": "text_delta", "text": word} for word in words]
    yield _named_event("content_block_start", index=0, content_block=opened)
    for delta in deltas:
        yield _named_event("content_block_delta", index=0, delta=delta)
    yield _named_event("content_block_stop", index=0)
    ending = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield _named_event("message_delta", delta=ending, usage={"output_tokens": 7})
    yield _named_event("message_stop")


def _embeddings(request: Received, headers: dict[str, str], wrong: Misbehaviour | None) -> Answer:
    given = request.body["input"]
    count = len(given) if isinstance(given, list) and given and not isinstance(given[0], int) else 1
    # Floats even where base64 was asked for: clients take both, and the numbers stay readable.
    data = [{"object": "embedding", "index": i, "embedding": [0.25, -0.5, float(i)]} for i in range(count)]
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    answer = {"object": "list", "model": request.body.get("model", "deployed"), "data": data, "usage": usage}
    return 200, {**JSON, **headers}, json.dumps(answer).encode()


def _models(request: Received, headers: dict[str, str], wrong: Misbehaviour | None) -> Answer:
    models = [{"id": "stand-in", "object": "model", "created": 1, "owned_by": "stand-in"}]
    return 200, {**JSON, **headers}, json.dumps({"object": "list", "data": models}).encode()


ANSWERS: dict[str, Callable[[Received, dict[str, str], Misbehaviour | None], Answer]] = {
    "chat/completions": _chat,
    "messages": _messages,
    "embeddings": _embeddings,
    "models": _models,
}


def _text(request: Received, wrong: Misbehaviour | None) -> str:
    """Return the model's text, with the caller's key in it for Failure.ECHO."""
    if wrong is not None and wrong.error is Failure.ECHO:
        return f"your key is {request.key} indeed"
    return f"Hello from {request.body.get('model', 'the deployment')}"


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def _named_event(kind: str, **content: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **content})}\n\n".encode()
