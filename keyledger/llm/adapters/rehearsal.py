"""Canned answers in each provider's format, for LiteLLM's rehearsal. They never leave the process."""

import json
from typing import Any

import httpx


def canned_answer(request: httpx.Request) -> httpx.Response:
    """Answer a chat, plain or streamed, or a request for embeddings."""
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 1, "input_tokens": 1, "output_tokens": 1}
    shared = {"id": "1", "created": 1, "model": "x", "usage": usage}
    if request.url.path.endswith("embeddings"):
        return httpx.Response(200, json={**shared, "object": "list", "data": [{"index": 0, "embedding": [0.0]}]})
    text, wanted = {"role": "assistant", "content": "hello"}, json.loads(request.content)
    if request.url.path.endswith("messages"):
        body = {**shared, "type": "message", "role": "assistant", "stop_reason": "end_turn"}
        events: list[dict[str, Any]] = [{"type": "message_start", "message": {**body, "content": []}}]
        whole = {**body, "content": [{"type": "text", "text": "hello"}]}
    else:
        events = [{**shared, "choices": [{"index": 0, "delta": text, "finish_reason": None}]}]
        whole = {**shared, "choices": [{"index": 0, "message": text, "finish_reason": "stop"}]}
    if not wanted.get("stream"):
        return httpx.Response(200, json=whole)
    stream = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    return httpx.Response(200, text=f"{stream}data: [DONE]\n\n", headers={"content-type": "text/event-stream"})
