"""Writes the body of a chat for a provider with OpenAI's API: as the client wrote it, in the provider's own words.

Promises: nothing is added to a prompt. A provider that refuses what it does not know (`Provider.accepts`) gets the
names that it has for OpenAI's members; what asks for nothing is left out, and what it has no counterpart for is an
InvalidRequestError that names it. Instructions have the role `system` where only OpenAI's models know `developer`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from domain.errors import InvalidField, InvalidRequestError
from keyledger.llm.adapters.unasked import without_unasked
from keyledger.llm.requests.litellm_plans import Plan
from keyledger.llm.requests.parameters import Request
from keyledger.llm.requests.prepared import Prepared, encoded

_ANSWERED = frozenset({"annotations", "audio", "reasoning", "reasoning_content", "refusal", "thinking_blocks"})
"""Members that answers have and requests do not; clients send them back with an answer."""
_OWN = "stream_options"
"""What it asks for is in each answer of a strict provider, or made of it."""


def openai_body(plan: Plan, request: Request) -> dict[str, Any]:
    """Return the body of a chat. Raises InvalidRequestError for what the provider does not take."""
    members: Mapping[str, Any] = {**request.parameters, **request.extras}
    if not plan.row.by_model:
        members = {**members, "messages": [with_system_role(message) for message in members["messages"]]}
    if plan.row.accepts is not None:
        members = _accepted(plan, Request(dict(members), {}))
    return {"model": plan.upstream_model, **members, "stream": request.streaming}


def openai_embeddings(plan: Plan, request: Request) -> Prepared:
    """Prepare embeddings: every provider that has them has OpenAI's API for them."""
    return Prepared(encoded({"model": plan.upstream_model, **request.parameters, **request.extras}))


def with_system_role(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message with the role `system` where OpenAI's newer models have `developer`."""
    return {**message, "role": "system"} if message["role"] == "developer" else message


def _accepted(plan: Plan, request: Request) -> dict[str, Any]:
    """Return the members in the provider's words. Raises InvalidRequestError."""
    renamed = dict(plan.row.renamed)
    members: dict[str, Any] = {}
    errors = []
    for name, value in without_unasked(request).parameters.items():
        own = renamed.get(name, name)
        if members.get(own, value) != value:
            errors.append(InvalidField(name, f"differs from another name of it; {plan.row.name} has one: {own}"))
        elif plan.row.accepts is not None and own in plan.row.accepts:
            members[own] = value
        elif name != _OWN:
            errors.append(InvalidField(name, f"is not supported by {plan.row.name}"))
    errors += named(plan.row.name, members["messages"])
    if errors:
        raise InvalidRequestError(errors)
    return {**members, "messages": [_without_answered(message) for message in members["messages"]]}


def require_one_limit(request: Request) -> None:
    """Require that the two names of the limit do not differ. Raises InvalidRequestError."""
    limits = [request.parameters.get(name) for name in ("max_tokens", "max_completion_tokens")]
    if None not in limits and limits[0] != limits[1]:
        raise InvalidRequestError([InvalidField("max_tokens", "differs from max_completion_tokens; give one of them")])


def named(provider: str, messages: Sequence[dict[str, Any]]) -> list[InvalidField]:
    """Return an error for names of speakers, which strict providers do not take, but for the names of tools."""
    if any(message.get("name") is not None and message["role"] != "tool" for message in messages):
        return [InvalidField("messages", f"have a name, which is not supported by {provider}")]
    return []


def _without_answered(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name not in _ANSWERED and value is not None}
