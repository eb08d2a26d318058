"""Calls to a provider that answers with exactly these bytes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from domain.calls.models import Answer, AnswerStream
from domain.errors import ServiceError
from keyledger.llm import Gateway
from tests.keyledger.llm.raw_server import STREAM, answering
from tests.keyledger.llm.rig import HELLO, TENANT, Keys, with_gateway
from tests.support.meter import ListeningMeter

DONE = b"data: [DONE]\n\n"


class Streamed(NamedTuple):
    """The chunks that left. error: what ended it, None for a whole one. failed: how the call was counted."""

    chunks: list[Any]
    error: ServiceError | None
    failed: bool


def completed(model: str, answer: object, params: Mapping[str, Any]) -> Any:
    """Return the body of a whole answer, of a chat or, where `params` have an input, of embeddings."""
    keys = Keys("")

    async def use(gateway: Gateway) -> Any:
        async with answering(json.dumps(answer).encode()) as keys.url:
            call = gateway.embed if "input" in params else gateway.complete
            result = await call(TENANT, model, {"messages": HELLO, **params} if "input" not in params else params)
            assert isinstance(result, Answer)
            return result.body

    return with_gateway(keys, use)


def streamed(model: str, stream: bytes, **params: Any) -> Streamed:
    """Return what left of a stream."""
    keys, meter, chunks = Keys(""), ListeningMeter(), list[Any]()

    async def use(gateway: Gateway) -> ServiceError | None:
        async with answering(stream, STREAM) as keys.url:
            answer = await gateway.complete(TENANT, model, {"messages": HELLO, "stream": True, **params})
            assert isinstance(answer, AnswerStream)
            try:
                async for chunk in answer.chunks:
                    chunks.append(chunk)
            except ServiceError as error:
                return error
        return None

    error = with_gateway(keys, use, meter=meter)
    return Streamed(chunks, error, meter.told[0].failed)


def refused(model: str, status: str, error: object) -> ServiceError:
    """Return the error of a call that the provider answers with this status and body."""
    keys = Keys("")

    async def use(gateway: Gateway) -> ServiceError:
        async with answering(json.dumps(error).encode(), status=status) as keys.url:
            with pytest.raises(ServiceError) as caught:
                await gateway.complete(TENANT, model, {"messages": HELLO})
        return caught.value

    return with_gateway(keys, use)


def events(*contents: object) -> bytes:
    """Return a stream of these events, without its end."""
    return b"".join(b"data: %s\n\n" % json.dumps(content).encode() for content in contents)


def named_events(*contents: Mapping[str, Any]) -> bytes:
    """Return a stream of Anthropic's: the name of each event is its type."""
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (content["type"].encode(), json.dumps(content).encode()) for content in contents
    )


def chat(message: Mapping[str, Any] | None = None, finish_reason: object = "stop", **more: Any) -> dict[str, Any]:
    """Return a whole answer of OpenAI's shape."""
    choice = {"index": 0, "message": {"role": "assistant", **(message or {"content": "hi"})}}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", **more} | {
        "choices": [{**choice, "finish_reason": finish_reason, **more.get("choice", {})}]
    }


def chunk(delta: object = None, finish_reason: object = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """Return one chunk of OpenAI's shape."""
    choice = {"index": index, "delta": {} if delta is None else delta, "finish_reason": finish_reason}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}


def message(
    blocks: Sequence[Mapping[str, Any]], stop_reason: object = "end_turn", usage: object = None
) -> dict[str, Any]:
    """Return a whole answer of Anthropic's shape."""
    counted = {"input_tokens": 9, "output_tokens": 3} if usage is None else usage
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude"}
    return {**head, "content": list(blocks), "stop_reason": stop_reason, "usage": counted}


def message_events(
    blocks: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]], stop_reason: object = "end_turn"
) -> bytes:
    """Return a stream of Anthropic's shape: each block with its deltas."""
    contents: list[Mapping[str, Any]] = [
        {"type": "message_start", "message": message([], None, {"input_tokens": 9, "output_tokens": 1})},
        {"type": "ping"},
    ]
    for index, (block, deltas) in enumerate(blocks):
        contents.append({"type": "content_block_start", "index": index, "content_block": block})
        contents += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        contents.append({"type": "content_block_stop", "index": index})
    contents.append({"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": {"output_tokens": 3}})
    return named_events(*contents, {"type": "message_stop"})
