"""Members of a request that ask for nothing, because their value is what the provider does anyway.

OpenAI's clients send many of them. A provider that does not know such a member gets the request without it instead of
the client an error.
Source: the defaults in OpenAI's API reference for chat completions.
"""

from collections.abc import Mapping
from typing import Any

from keyledger.llm.requests.parameters import Request

_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "metadata": ({},),
    "modalities": (["text"],),
    "n": (1,),
    "parallel_tool_calls": (True,),
    "presence_penalty": (0,),
    "service_tier": ("auto",),
    "store": (False,),
    "top_logprobs": (0,),
}


def without_unasked(request: Request) -> Request:
    """Return a request without the members that ask for nothing."""
    return Request(_asked(request.parameters), _asked(request.extras), request.streaming)


def _asked(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value not in _DEFAULTS.get(name, ())}
