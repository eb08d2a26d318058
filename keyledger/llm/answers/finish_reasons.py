"""Why a model stopped, in OpenAI's words, whichever provider says it.

Each value that a provider documents is named here. A value that is not named passes as it is: that is what the provider
said, and a made-up `stop` would make half an answer look whole.
Raises InvalidAnswerError for values that mean the provider gave up on the answer.
Sources: the API references of OpenAI, Anthropic (Messages, 2023-06-01), Google, Cohere, Mistral, DeepSeek, OpenRouter,
vLLM, and Hugging Face's Text Generation Inference.
"""

from collections.abc import Mapping
from typing import Any

from keyledger.llm.answers.bounded_json import CUT_OFF, InvalidAnswerError

_FAILED = ""

OPENAI: Mapping[str, str] = {
    "model_length": "length",  # Mistral: the context window is full
    "eos": "stop",  # Together
    "eos_token": "stop",  # Text Generation Inference
    "stop_sequence": "stop",  # the same
    "sensitive": "content_filter",  # Zhipu
    "error": _FAILED,  # Mistral, OpenRouter, Fireworks
    "abort": _FAILED,  # vLLM, SGLang: the request was aborted
    "network_error": _FAILED,  # Zhipu
    "insufficient_system_resource": _FAILED,  # DeepSeek
    "STOP": "stop",  # Google, whose own words come through gateways, as Anthropic's and Cohere's do
    "MAX_TOKENS": "length",  # Google, Cohere
    **dict.fromkeys(
        ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"), "content_filter"
    ),
    "MALFORMED_FUNCTION_CALL": _FAILED,
    "COMPLETE": "stop",  # Cohere
    "STOP_SEQUENCE": "stop",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
    "ERROR_LIMIT": "length",
    "ERROR": _FAILED,
    "TIMEOUT": _FAILED,
    "end_turn": "stop",  # Anthropic
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Of providers with OpenAI's API, where their words differ from OpenAI's."""

ANTHROPIC: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "length",  # a long turn was interrupted, so the answer is not whole
    "compaction": "length",  # the same
}


def finish_reason(said: Any, known: Mapping[str, str]) -> Any:
    """Return the reason in OpenAI's words; null before the end. Raises InvalidAnswerError, TypeError."""
    if said is None or said == "":
        return None
    if not isinstance(said, str):
        raise TypeError("a reason that is not a text")
    reason = known.get(said, said)
    if reason == _FAILED:
        raise InvalidAnswerError(CUT_OFF)
    return reason
