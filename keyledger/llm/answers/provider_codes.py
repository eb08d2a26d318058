"""The code of a provider's error, out of a closed list: what agents and interfaces act on.

Promises: what is returned is a word of this module, never a text of the provider's, which may quote a key or a prompt.
Sources: the error references of OpenAI, Azure OpenAI, Anthropic, Google (`google.rpc.ErrorInfo`), Groq and Cerebras.
"""

import json
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
}
_REFUSING_TEXTS = (
    "Incorrect API key provided",
    "API key not valid",
    "API key expired",
    "Your API key was reported as leaked",
)
"""How xAI and Google begin errors about a key that have no code of their own."""


def provider_code(body: bytes) -> str | None:
    """Return the code of an error; None for one without a code of the list."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(content, list) and len(content) == 1:  # Google, where its interface is OpenAI's
        (content,) = content
    said = list(_said(content)) if isinstance(content, dict) else []
    return next((code for code in said if code in _KNOWN), None) or (
        "incorrect_api_key" if any(text.startswith(_REFUSING_TEXTS) for text in said) else None
    )


def _said(content: dict[str, Any]) -> Iterator[str]:
    """Yield the texts that may be a code, the most exact ones first."""
    error = content.get("error")
    holders = [error, content] if isinstance(error, dict) else [content]
    if isinstance(error, dict):
        inner = error.get("innererror")
        details = error.get("details")
        holders = [*(details if isinstance(details, list) else ()), inner, *holders]
    for holder in holders:
        if isinstance(holder, dict):
            values = (holder.get(name) for name in ("reason", "code", "type", "error", "message"))
            yield from (value for value in values if isinstance(value, str))
