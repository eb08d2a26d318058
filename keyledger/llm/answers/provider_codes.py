"""The code of a provider's error, out of a closed list: what agents and interfaces act on.

Promises: what is returned is a word of this module, never a text of the provider's, which may quote a key or a prompt.
Sources: the error references of OpenAI, Azure OpenAI, Anthropic, Google (`google.rpc.ErrorInfo`), Groq and Cerebras,
and the source of vLLM, SGLang and llama.cpp.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

BODY_MAX = 64 * 1024
"""Bytes of an error that are looked at."""

KEY_REFUSED = frozenset({"invalid_api_key", "wrong_api_key", "API_KEY_INVALID", "incorrect_api_key"})
"""Codes that say that the key is not valid, with whatever status they come."""

_KNOWN = KEY_REFUSED | {
    *("context_length_exceeded", "string_above_max_length", "request_too_large", "invalid_prompt"),
    *("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"),
    *("model_not_found", "DeploymentNotFound", "OperationNotSupported", "unsupported_country_region_territory"),
    *("unsupported_parameter", "unsupported_value", "invalid_value", "missing_required_parameter"),
    *("rate_limit_exceeded", "rate_limit_error", "overloaded_error", "tokens_limit_reached"),
    *("insufficient_quota", "billing_error", "billing_hard_limit_reached", "payment_required", "account_deactivated"),
    *("json_validate_failed", "tool_use_failed"),
    *("SERVICE_DISABLED", "API_KEY_SERVICE_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED", "API_KEY_IP_ADDRESS_BLOCKED"),
}
_RENAMED = {
    "RESOURCE_EXHAUSTED": "rate_limit_exceeded",  # Google
    "exceed_context_size_error": "context_length_exceeded",  # llama.cpp
    "credit_balance_exhausted": "insufficient_quota",
}
"""Codes for which clients know another word."""
_REFUSING_TEXTS = (
    "Incorrect API key provided",
    "API key not valid",
    "API key expired",
    "Your API key was reported as leaked",
    "The API key you provided is invalid",
)
"""How xAI, Google and Fireworks begin errors about a key that have no code of their own."""
_TEXT_MAX = 2000
_IN_WORDS = (
    (
        re.compile(
            r"maximum (?:context|prompt) length|prompt is too long|longer than the model's context"
            r"|too large for model with \d+ maximum context|input token count .{0,40}exceeds the maximum"
            r"|total number of tokens in the prompt cannot exceed"
            r"|exceeds the (?:model's )?context (?:length|size|window)"
            r"|`inputs` tokens \+ `max_new_tokens` must be",
            re.IGNORECASE,
        ),
        "context_length_exceeded",
    ),
    (
        re.compile(
            r"credit balance is too low|insufficient (?:balance|credits?|funds)|out of credits"
            r"|(?:used all available|has no) credits|doesn't have any credits",
            re.IGNORECASE,
        ),
        "insufficient_quota",
    ),
)
"""What providers say in words only: vLLM, SGLang, Text Generation Inference, Anthropic, Mistral, Google, Cohere and xAI
of a prompt that is too long; Anthropic, xAI, DeepSeek and OpenRouter of an account without credit."""
_PAYMENT_REQUIRED = 402


def provider_code(body: bytes, status: int | None = None) -> str | None:
    """Return the code of an error; None for one without a code of the list. status: of the answer."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, list) and len(content) == 1:  # Google, where its interface is OpenAI's
        (content,) = content
    said = [_RENAMED.get(text, text) for text in _said(content)] if isinstance(content, dict) else []
    if (code := next((code for code in said if code in _KNOWN), None)) is not None:
        return code
    if any(text.startswith(_REFUSING_TEXTS) for text in said):
        return "incorrect_api_key"
    told = (code for pattern, code in _IN_WORDS if any(pattern.search(text[:_TEXT_MAX]) for text in said))
    return next(told, "insufficient_quota" if status == _PAYMENT_REQUIRED else None)


def _said(content: dict[str, Any]) -> Iterator[str]:
    """Yield the texts that may be a code, the most exact ones first."""
    error = content.get("error")
    holders = [error, content] if isinstance(error, dict) else [content]
    if isinstance(error, dict):
        inner = error.get("innererror")
        details = error.get("details")
        holders = [*(details if isinstance(details, list) else ()), error, inner, content]
    for holder in holders:
        if isinstance(holder, dict):
            values = (holder.get(name) for name in ("reason", "code", "status", "type", "error", "message"))
            yield from (value for value in values if isinstance(value, str))
