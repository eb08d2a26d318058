"""The routes that the global key calls at a provider, and the members that their bodies may have.

Each creates one answer from one request. The members are those of OpenAI's and Anthropic's interfaces and of common
open model servers which leave no state with the provider and reach none; a new one takes one word here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from keyledger.llm.requests.allowed_parameters import CHAT, CHAT_EXTRAS, EMBEDDING_EXTRAS, EMBEDDINGS

_SAMPLING = frozenset(
    (
        *("model", "stream", "stream_options", "temperature", "top_p", "top_k", "seed", "n", "user"),
        *("metadata", "safety_identifier", "service_tier", "cache_salt"),
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    )
)
_TEXT = _SAMPLING.union(
    CHAT,
    CHAT_EXTRAS,
    (
        *("documents", "echo", "media_io_kwargs", "moderation", "reasoning", "reasoning_format"),
        *("return_token_ids", "return_tokens_as_token_ids", "search_parameters", "structural_tag", "use_beam_search"),
    ),
)
_RESPONSES = _SAMPLING.union(
    (
        *("background", "context_management", "include", "input", "instructions", "max_output_tokens"),
        *("max_tool_calls", "moderation", "parallel_tool_calls", "reasoning", "store", "text", "tool_choice", "tools"),
        *("top_logprobs", "truncation"),
    )
)
_MESSAGES = _SAMPLING.union(
    (
        *("cache_control", "compaction", "context_management", "inference_geo", "max_tokens", "messages"),
        *("output_config", "output_format", "speed", "stop_sequences", "system", "thinking", "tool_choice", "tools"),
    )
)
_IMAGES = frozenset(
    (
        *("background", "image", "images", "input_fidelity", "mask", "model", "moderation", "n", "output_compression"),
        *("output_format", "partial_images", "prompt", "quality", "response_format", "seed", "size", "stream", "style"),
        "user",
    )
)
_SPEECH = frozenset(
    ("input", "instructions", "language", "model", "response_format", "sample_rate", "speed", "stream_format", "voice")
)
_SOUND = frozenset(
    (
        *("chunking_strategy", "file", "include", "keywords", "known_speaker_names", "known_speaker_references"),
        *("language", "languages", "model", "prompt", "response_format", "seed", "stream", "temperature"),
        "timestamp_granularities",
    )
)
_RERANK = frozenset(
    (
        *("documents", "instruction", "max_chunks_per_doc", "max_tokens_per_doc", "model", "query"),
        *("rank_fields", "return_documents", "top_k", "top_n", "truncate_prompt_tokens", "truncation", "user"),
    )
)

KEEPING_STATE = frozenset(
    (
        *("agent_id", "assistant_id", "cached_content", "container", "conversation", "data_sources", "diagnostics"),
        *("fallbacks", "mcp_servers", "models", "previous_response_id", "prompt", "session_id", "thread"),
        *("thread_id", "tool_resources"),
    )
)
"""Members that name state in the account, or other models. Their errors say so, and null counts as absent."""


@dataclass(frozen=True, slots=True)
class InferenceRoute:
    """One route. members: of its body. switches: members that make the provider keep the answer unless they are false.

    form: the body may be multipart.
    """

    members: frozenset[str]
    switches: frozenset[str] = frozenset()
    form: bool = False


ROUTES: Mapping[str, InferenceRoute] = {
    "chat/completions": InferenceRoute(_TEXT | {"messages"}, frozenset({"store"})),
    "completions": InferenceRoute(_TEXT | {"best_of", "prompt", "suffix"}, frozenset({"store"})),
    "responses": InferenceRoute(_RESPONSES, frozenset({"background", "store"})),
    "messages": InferenceRoute(_MESSAGES),
    "messages/count_tokens": InferenceRoute(_MESSAGES),
    "embeddings": InferenceRoute(
        frozenset(
            {"model", "input", "embedding_types", "normalize", "task", "truncate", *EMBEDDINGS, *EMBEDDING_EXTRAS}
        )
    ),
    "rerank": InferenceRoute(_RERANK),
    "moderations": InferenceRoute(frozenset({"input", "model"})),
    "images/generations": InferenceRoute(_IMAGES),
    "images/edits": InferenceRoute(_IMAGES, form=True),
    "images/variations": InferenceRoute(_IMAGES, form=True),
    "audio/speech": InferenceRoute(_SPEECH),
    "audio/transcriptions": InferenceRoute(_SOUND, form=True),
    "audio/translations": InferenceRoute(_SOUND, form=True),
}
"""By path below the provider's base address."""
