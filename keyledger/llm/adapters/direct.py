"""Calls models without LiteLLM: one JSON request in the provider's own dialect, over the same wire and lease.

For models whose catalogue entry has no `litellm_model_name`; they use global keys only. Providers that speak OpenAI's
API get the caller's parameters unchanged.
Raises ValueError, TypeError or KeyError for malformed responses; the gateway maps those.
"""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx

from domain.credentials.providers import Dialect
from keyledger.llm.adapters.anthropic_dialect import chunks_from_anthropic, from_anthropic, to_anthropic
from keyledger.llm.answers.server_sent_events import json_events
from keyledger.llm.requests.litellm_plans import Plan
from keyledger.llm.requests.parameters import Request
from keyledger.llm.requests.provider_addresses import ANTHROPIC_VERSION
from keyledger.llm.wire.wire import KEYLESS_CLIENT

_ANTHROPIC_VERSION = {"anthropic-version": ANTHROPIC_VERSION}


class DirectAdapter:
    """Calls providers directly. Raises what the wire raises, and InvalidRequestError for untranslatable parameters."""

    warm = True

    async def warm_up(self) -> None:
        """Do nothing: there is nothing to load."""

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

    async def chat(self, plan: Plan, request: Request) -> dict[str, Any]:
        """Complete a chat under the active lease."""
        answer = _object((await _post(plan, _chat_body(plan, request))).json())
        if plan.dialect is Dialect.ANTHROPIC:
            return _dated(from_anthropic(answer))
        return answer

    async def stream(self, plan: Plan, request: Request) -> AsyncIterator[dict[str, Any]]:
        """Start a streamed chat under the active lease and return its chunks; the request has then been sent."""
        body = _chat_body(plan, request)
        headers = _ANTHROPIC_VERSION if plan.dialect is Dialect.ANTHROPIC else {}
        sent = KEYLESS_CLIENT.build_request("POST", plan.url, json=body, headers=headers)
        answer = await KEYLESS_CLIENT.send(sent, stream=True)
        events = json_events(answer.aiter_bytes())
        if plan.dialect is Dialect.ANTHROPIC:
            with_usage = bool((request.parameters.get("stream_options") or {}).get("include_usage"))
            return (_dated(chunk) async for chunk in chunks_from_anthropic(events, with_usage=with_usage))
        return events

    async def embed(self, plan: Plan, request: Request) -> dict[str, Any]:
        """Compute embeddings under the active lease."""
        body = {"model": plan.upstream_model, **request.parameters, **request.extras}
        return _object((await _post(plan, body)).json())


def _chat_body(plan: Plan, request: Request) -> dict[str, Any]:
    if plan.dialect is Dialect.ANTHROPIC:
        return to_anthropic(request, plan.upstream_model)
    return {"model": plan.upstream_model, "stream": request.streaming, **request.parameters, **request.extras}


async def _post(plan: Plan, body: dict[str, Any]) -> httpx.Response:
    headers = _ANTHROPIC_VERSION if plan.dialect is Dialect.ANTHROPIC else {}
    return await KEYLESS_CLIENT.post(plan.url, json=body, headers=headers)


def _object(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise TypeError("not a JSON object")
    return content


def _dated(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "created": int(time.time())}
