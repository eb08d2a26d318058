"""Conversations in the dialects of providers with OpenAI's API: what is peculiar to each arrives, or does no harm.

The streams follow the providers' references and what other gateways recorded; no provider was called.
"""

import json
from typing import Any

from domain.credentials.built_in_providers import BUILT_IN
from domain.errors import ProviderRefusedError, RejectedCredentialError
from tests.keyledger.llm.answered import DONE, completed, refused, streamed
from tests.keyledger.llm.rig import PROVIDERS, text_of

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
OTHERS = [name for name in BUILT_IN if name not in PROVIDERS]


def event(content: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    delta = {} if content is None else {"content": content}
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    members = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}
    return b"data: %s\n\n" % json.dumps(members).encode()


COUNTED = event(choices=[], usage=USAGE)
PLAIN = event("Hel") + event("lo") + event(finish="stop")
STREAMS: dict[str, bytes] = {
    # Google sends no [DONE] where the connection ends after the last chunk.
    "gemini": event("Hel") + event("lo", "stop", usage=USAGE),
    "groq": event("Hel", x_groq={"id": "req_1"}) + event("lo") + event(finish="stop", x_groq={"usage": USAGE}) + DONE,
    "deepseek": b": keep-alive\n\n: keep-alive\n\n" + PLAIN[:-2] + b"\n\n: keep-alive\n\n" + COUNTED + DONE,
    # xAI counts on every chunk, and the counts grow.
    "xai": event("Hel", usage=USAGE | {"completion_tokens": 1}) + event("lo", "stop", usage=USAGE) + DONE,
    "cohere": event("Hel", system_fingerprint="") + event("lo") + event(finish="stop") + DONE,
    "openrouter": b": OPENROUTER PROCESSING\n\n"
    + event("Hel", provider="Together")
    + event("lo")
    + event(finish="stop", provider="Together")
    + COUNTED
    + DONE,
    "together": PLAIN.replace(b'"stop"', b'"eos"') + DONE,
    "fireworks": PLAIN + event(choices=[], usage=USAGE, perf_metrics={"x": "1"}) + DONE,
    "scaleway": PLAIN + COUNTED + DONE,
    "nebius": PLAIN + COUNTED + DONE,
    "huggingface": PLAIN + DONE,
    "cerebras": event("Hel") + event("lo", "stop", usage=USAGE, time_info={"total_time": 0.1}) + DONE,
    # Perplexity repeats its counts and its sources on each chunk.
    "perplexity": event("Hel", usage=USAGE, citations=["https://a.example"])
    + event("lo", "stop", usage=USAGE, citations=["https://a.example"])
    + DONE,
}
COUNTING = {name for name, stream in STREAMS.items() if b'"usage": {' in stream.replace(b'"x_groq": {"usage"', b"")}


def test_every_row_has_a_conversation() -> None:
    assert set(STREAMS) == set(OTHERS)


def test_a_stream_in_each_dialect_arrives_whole() -> None:
    for name, stream in STREAMS.items():
        left = streamed(f"{name}-litellm", stream)
        assert (left.error, left.failed, text_of(left.chunks)) == (None, False, "Hello"), name
        ends = [one["choices"][0]["finish_reason"] for one in left.chunks if one["choices"]]
        assert [end for end in ends if end] == ["stop"], name


def test_counts_that_were_asked_for_come_once_and_last_in_each_dialect() -> None:
    for name, stream in STREAMS.items():
        left = streamed(f"{name}-litellm", stream, stream_options={"include_usage": True})
        counted = [one for one in left.chunks if one.get("usage")]
        assert left.error is None, name
        assert counted == ([left.chunks[-1]] if name in COUNTING else []), name
        if name in COUNTING:
            assert (left.chunks[-1]["choices"], left.chunks[-1]["usage"]) == ([], USAGE), name


def test_a_stream_that_is_cut_is_an_error_in_each_dialect() -> None:
    for name, stream in STREAMS.items():
        left = streamed(f"{name}-litellm", stream[: stream.index(b'"lo"')])
        assert left.failed, name
        assert left.error is not None, name


def test_a_whole_answer_keeps_what_is_peculiar_to_a_provider() -> None:
    for name in OTHERS:
        message = {"role": "assistant", "content": "Hello", "reasoning": "hm"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        said = {
            "id": "c",
            "choices": choices,
            "usage": USAGE,
            "citations": ["a"],
            "x_groq": {"id": "r"},
            "time_info": {},
        }
        body = completed(f"{name}-litellm", said, {})
        assert (body["model"], body["citations"], body["x_groq"], body["time_info"]) == (
            f"{name}-litellm",
            ["a"],
            {"id": "r"},
            {},
        )
        assert body["choices"][0]["message"]["reasoning_content"] == "hm"


BAD_KEY: dict[str, tuple[str, Any]] = {
    "gemini": (
        "400 Bad Request",
        [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}],
    ),
    "xai": ("400 Bad Request", {"code": "invalid-argument", "error": "Incorrect API key provided: na***ys."}),
    "scaleway": ("403 Forbidden", {"message": "API key does not exist or does not have the necessary permissions"}),
    "cerebras": ("401 Unauthorized", {"code": "wrong_api_key"}),
    "openrouter": ("401 Unauthorized", {"error": {"message": "Missing Authentication header", "code": 401}}),
}


def test_each_provider_s_answer_to_a_bad_key_is_a_rejected_credential() -> None:
    for name in OTHERS:
        status, body = BAD_KEY.get(name, ("401 Unauthorized", {"detail": "no"}))
        assert isinstance(refused(f"{name}-litellm", status, body), RejectedCredentialError), name


def test_a_forbidden_model_is_no_bad_key_unless_the_provider_says_both_alike() -> None:
    for name in OTHERS:
        error = refused(f"{name}-litellm", "403 Forbidden", {"error": {"message": "no access to this model"}})
        kind = RejectedCredentialError if 403 in BUILT_IN[name].rejects_with else ProviderRefusedError
        assert isinstance(error, kind), name
