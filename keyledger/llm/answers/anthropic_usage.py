"""The token counts of Anthropic's answers, in OpenAI's words.

Promises: every count that was sent arrives; none is estimated or made up. An answer without its two main counts has no
usage, because OpenAI's form cannot say that one of them is unknown.
Source: Anthropic's Messages API, version 2023-06-01: the whole input is the sum of its three counts.
"""

from collections.abc import Mapping
from typing import Any

COUNT_MAX = 2**53
"""As far as JSON's numbers are exact everywhere."""

_MAIN = ("input_tokens", "output_tokens")
_CACHED = {"cache_creation_input_tokens": "cache_creation_tokens", "cache_read_input_tokens": "cached_tokens"}
_AS_THEY_ARE = ("cache_creation", "server_tool_use")
COUNTS = (*_MAIN, *_CACHED, "iterations", "output_tokens_details", *_AS_THEY_ARE)
"""The members of a usage that are counts."""


def openai_usage(said: Any) -> dict[str, Any] | None:
    """Return the usage of an answer; None where the provider did not count."""
    if not isinstance(said, Mapping) or not all(_is_count(said.get(name)) for name in _MAIN):
        return None
    counted = _in_all(said)
    read = counted["input_tokens"] + sum(counted[name] for name in _CACHED)
    written = counted["output_tokens"]
    usage: dict[str, Any] = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    cached = {name: counted[name] for name in _CACHED if _is_count(said.get(name))}
    if cached:
        usage["prompt_tokens_details"] = {_CACHED[name]: count for name, count in cached.items()}
        usage |= cached  # under the names that clients of Anthropic know
    details = said.get("output_tokens_details")
    if isinstance(details, Mapping) and _is_count(details.get("thinking_tokens")):
        usage["completion_tokens_details"] = {"reasoning_tokens": details["thinking_tokens"]}
    return usage | {name: said[name] for name in _AS_THEY_ARE if isinstance(said.get(name), Mapping)}


def _in_all(said: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts; of an answer in several passes, whose head counts the last one only, their sums."""
    passes = said.get("iterations")
    parts = passes if isinstance(passes, list) and passes else [said]
    return {name: sum(part[name] for part in parts if _is_count(part.get(name))) for name in (*_MAIN, *_CACHED)}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= COUNT_MAX
