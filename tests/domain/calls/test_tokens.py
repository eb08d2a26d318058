"""The token counts of all providers have one meaning, and a value that is not a count makes a usage unknown."""

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.calls.tokens import TOKENS_MAX, Tokens, ToldUsage
from tests.support.each import each

CHAT = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
SAID: dict[str, tuple[list[dict[str, Any]], Tokens | None]] = {
    "a chat": ([{"usage": CHAT, "choices": [{"finish_reason": "stop"}]}], Tokens(9, 4)),
    "details of a chat": (
        [
            {
                "usage": CHAT
                | {
                    "prompt_tokens_details": {"cached_tokens": 5, "cache_creation_tokens": 2},
                    "completion_tokens_details": {"reasoning_tokens": 3},
                }
            }
        ],
        Tokens(9, 4, 5, 2, 3),
    ),
    "embeddings": ([{"usage": {"prompt_tokens": 9, "total_tokens": 9}}], Tokens(9, 0)),
    "deepseek": ([{"usage": CHAT | {"prompt_cache_hit_tokens": 8}}], Tokens(9, 4, 8)),
    "xai, which counts reasoning apart": (
        [{"usage": CHAT | {"total_tokens": 20, "completion_tokens_details": {"reasoning_tokens": 7}}}],
        Tokens(9, 11, 0, 0, 7),
    ),
    "the last event of a response": (
        [
            {"type": "response.created", "response": {"usage": None}},
            {
                "type": "response.completed",
                "response": {
                    "usage": {
                        "input_tokens": 9,
                        "input_tokens_details": {"cached_tokens": 5},
                        "output_tokens": 4,
                        "output_tokens_details": {"reasoning_tokens": 3},
                    }
                },
            },
        ],
        Tokens(9, 4, 5, 0, 3),
    ),
    "a message, whose input is in parts": (
        [
            {
                "type": "message",
                "usage": {
                    "input_tokens": 2,
                    "output_tokens": 4,
                    "cache_read_input_tokens": 5,
                    "cache_creation_input_tokens": 3,
                },
            }
        ],
        Tokens(10, 4, 5, 3),
    ),
    "a streamed message": (
        [
            {"type": "message_start", "message": {"usage": {"input_tokens": 2, "output_tokens": 1}}},
            {"type": "message_delta", "usage": {"output_tokens": 4}},
        ],
        Tokens(2, 4),
    ),
    "a message in several passes": (
        [
            {
                "type": "message",
                "usage": {
                    "input_tokens": 1,
                    "output_tokens": 1,
                    "cache_read_input_tokens": 0,
                    "iterations": [{"input_tokens": 5, "output_tokens": 2}, {"input_tokens": 1, "output_tokens": 1}],
                },
            }
        ],
        Tokens(6, 3),
    ),
    "gemini": (
        [
            {
                "candidates": [{"finishReason": "STOP"}],
                "usageMetadata": {
                    "promptTokenCount": 9,
                    "candidatesTokenCount": 4,
                    "thoughtsTokenCount": 3,
                    "cachedContentTokenCount": 5,
                },
            }
        ],
        Tokens(9, 7, 5, 0, 3),
    ),
    "groq, in its own member": ([{"x_groq": {"usage": CHAT}}], Tokens(9, 4)),
    "whole numbers that were sent as decimals": (
        [{"usage": {"prompt_tokens": 9.0, "completion_tokens": 4.0}}],
        Tokens(9, 4),
    ),
    "a stream that counts as it goes": (
        [{"usage": CHAT, "choices": [{"finish_reason": None}]}, {"usage": CHAT, "choices": []}],
        Tokens(9, 4),
    ),
    "a stream that ended while it was counting": ([{"usage": CHAT, "choices": [{"finish_reason": None}]}], None),
    "a message that ended while it was counting": (
        [{"type": "message_start", "message": {"usage": {"input_tokens": 2, "output_tokens": 1}}}],
        None,
    ),
    "nothing": ([{}, {"usage": None}, {"usage": []}, {"usage": "9"}], None),
    "seconds": ([{"usage": {"type": "duration", "seconds": 3}}], None),
    "searches": ([{"meta": {"billed_units": {"search_units": 1}}}], None),
}
NO_COUNTS = {
    "negative": -1,
    "too large": TOKENS_MAX + 1,
    "too large for 64 bits": 10**300,
    "a large decimal": 1e300,
    "infinite": math.inf,
    "not a number": math.nan,
    "a part of one": 1.5,
    "true": True,
    "a text": "9",
    "a list": [9],
    "an object": {"tokens": 9},
}


def told(*documents: dict[str, Any]) -> ToldUsage:
    usage = ToldUsage()
    for one in documents:
        usage.note(one)
    return usage


@each("name", SAID)
def test_counts_have_one_meaning_in_the_words_of_every_api(name: str) -> None:
    documents, expected = SAID[name]
    usage = told(*documents)
    assert (usage.tokens(), usage.unusable) == (expected, "")


@each("name", NO_COUNTS)
def test_what_is_not_a_count_makes_the_usage_unknown_and_is_named(name: str) -> None:
    usage = told({"usage": CHAT | {"completion_tokens": NO_COUNTS[name]}})
    assert (usage.tokens(), usage.unusable) == (None, "completion_tokens")
    details = told({"usage": CHAT | {"prompt_tokens_details": {"cached_tokens": NO_COUNTS[name]}}})
    assert (details.tokens(), details.unusable) == (None, "prompt_tokens_details.cached_tokens")


TOO_MANY: dict[str, tuple[dict[str, Any], str]] = {
    "in parts": (
        {"input_tokens": TOKENS_MAX, "output_tokens": 1, "cache_read_input_tokens": TOKENS_MAX},
        "input_tokens",
    ),
    "in passes": (
        {
            "input_tokens": 1,
            "output_tokens": 1,
            "cache_read_input_tokens": 0,
            "iterations": [{"input_tokens": TOKENS_MAX, "output_tokens": 1}] * 1000,
        },
        "iterations",
    ),
}


@each("name", TOO_MANY)
def test_counts_that_are_too_many_together_are_unknown_so_that_no_sum_leaves_64_bits(name: str) -> None:
    said, member = TOO_MANY[name]
    usage = told({"type": "message", "usage": said})
    assert (usage.tokens(), usage.unusable) == (None, member)


def test_a_stream_that_names_ever_more_members_fills_no_memory() -> None:
    usage = ToldUsage()
    for nth in range(100):
        usage.note({"usage": {f"member-{nth}-{one}": one for one in range(100)} | {"prompt_tokens": nth}})
    usage.note({"usage": {"completion_tokens": 4}})
    assert usage.tokens() == Tokens(99, 4)
    assert len(usage._said) == 2


def test_a_usage_without_its_output_is_not_a_usage_of_no_output() -> None:
    usage = told({"usage": {"prompt_tokens": 9, "total_tokens": 12}})
    assert (usage.tokens(), usage.unusable) == (None, "completion_tokens")


def test_the_name_of_the_model_is_kept_unless_it_is_not_one() -> None:
    assert told({"model": "gpt-4o"}, {"model": None}).model == "gpt-4o"
    assert told({"response": {"model": "o3", "usage": {}}}).model == "o3"
    assert told({"modelVersion": "gemini-2.5-pro"}).model == "gemini-2.5-pro"
    assert told({"model": 7}, {"model": "x" * 201}).model == ""


_VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.integers(0, 50))
_NAMES = (
    *("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens"),
    *("cache_read_input_tokens", "cache_creation_input_tokens", "promptTokenCount", "candidatesTokenCount"),
    *("thoughtsTokenCount", "cachedContentTokenCount", "prompt_cache_hit_tokens"),
)
_DETAILS = st.dictionaries(st.sampled_from(["cached_tokens", "reasoning_tokens", "thinking_tokens"]), _VALUES)
_USAGE = st.dictionaries(
    st.sampled_from([*_NAMES, "prompt_tokens_details", "output_tokens_details", "iterations"]),
    st.one_of(_VALUES, _DETAILS, st.lists(st.dictionaries(st.sampled_from(_NAMES), _VALUES), max_size=2)),
)


@given(st.lists(st.fixed_dictionaries({"usage": _USAGE}), max_size=3))
def test_whatever_a_server_says_counts_are_whole_and_parts_are_within_their_totals(documents: list[Any]) -> None:
    tokens = told(*documents).tokens()
    if tokens is not None:
        assert all(type(count) is int and 0 <= count <= TOKENS_MAX for count in tokens)
        assert tokens.cached + tokens.cache_creation <= tokens.input
        assert tokens.reasoning <= tokens.output
