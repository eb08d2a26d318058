"""The tables of parameters whose values are checked, each with its rule, and of those that are always refused.

The extras are those of the servers that the built-in providers run. Any other member of a chat or of embeddings goes to
a provider with OpenAI's API as it is, so that new ones need no release of KeyLedger, unless its name is in `REFUSED`.
"""

from collections.abc import Callable, Mapping
from typing import Any

Rule = tuple[Callable[[Any], bool], str]


def is_whole(value: Any) -> bool:
    """Return whether a value is an integer; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def is_objects(value: Any) -> bool:
    """Return whether a value is a list of JSON objects."""
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_tools(value: Any) -> bool:
    return is_objects(value) and all(_is_tool(tool) for tool in value)


def _is_tool(tool: dict[str, Any]) -> bool:
    if tool.get("type") != "function":
        return isinstance(tool.get("type"), str)
    function = tool.get("function")
    return isinstance(function, dict) and isinstance(function.get("name"), str)


_NUMBER: Rule = (_is_number, "must be a number")
_WHOLE: Rule = (is_whole, "must be a whole number")
_COUNT: Rule = (lambda value: is_whole(value) and 1 <= value <= 10**9, "must be a whole number from 1")
_BOOL: Rule = (lambda value: isinstance(value, bool), "must be true or false")
_TEXT: Rule = (_is_text, "must be a string")
_OBJECT: Rule = (_is_object, "must be an object")
_TEXTS: Rule = (_is_texts, "must be a list of strings")
_ANY: Rule = (lambda value: True, "")
_TEXT_OR_OBJECT: Rule = (lambda value: _is_text(value) or _is_object(value), "must be a string or an object")
_TEXT_OR_TEXTS: Rule = (lambda value: _is_text(value) or _is_texts(value), "must be a string or a list of strings")

REFUSED = frozenset(
    (
        *("additional_drop_params", "allowed_openai_params", "api_base", "api_key", "api_version"),
        *("azure", "azure_ad_token", "azure_ad_token_provider", "base_model", "base_url", "cache"),
        *("caching", "callbacks", "client", "client_secret", "context_window_fallback_dict"),
        *("custom_llm_provider", "default_headers", "deployment_id", "drop_params", "extra_headers"),
        *("extra_query", "failure_callback", "fallbacks", "guardrails", "headers", "hf_model_name"),
        *("input_cost_per_token", "litellm_credential_name", "litellm_logging_obj", "litellm_metadata"),
        *("litellm_params", "max_retries", "mock_delay", "mock_response", "mock_timeout"),
        *("mock_tool_calls", "model_list", "models", "no-log", "num_retries", "organization"),
        *("prompt_id", "provider_specific_header", "proxy_server_request", "request_timeout"),
        *("shared_session", "stream_timeout", "success_callback", "tags", "timeout", "use_litellm_proxy"),
    )
)
"""Names that steer a client's library, carry keys, or name further models than the one that was checked."""

CHAT: Mapping[str, Rule] = {
    "frequency_penalty": _NUMBER,
    "function_call": _TEXT_OR_OBJECT,
    "functions": (is_objects, "must be a list of objects"),
    "logit_bias": (lambda value: _is_object(value) and all(map(_is_number, value.values())), "must map to numbers"),
    "logprobs": _BOOL,
    "max_completion_tokens": _COUNT,
    "max_tokens": _COUNT,
    "n": (lambda value: is_whole(value) and 1 <= value <= 128, "must be a whole number from 1 to 128"),
    "parallel_tool_calls": _BOOL,
    "presence_penalty": _NUMBER,
    "reasoning_effort": _TEXT,
    "response_format": (
        lambda value: _is_object(value) and _is_text(value.get("type")),
        "must be an object with a type",
    ),
    "seed": _WHOLE,
    "stop": _TEXT_OR_TEXTS,
    "stream_options": _OBJECT,
    "temperature": _NUMBER,
    "tool_choice": _TEXT_OR_OBJECT,
    "tools": (_is_tools, "must be a list of objects with a type and, for functions, a function with a name"),
    "top_logprobs": _WHOLE,
    "top_p": _NUMBER,
    "user": _TEXT,
}
"""OpenAI's parameters, which LiteLLM may translate for a provider."""

CHAT_EXTRAS: Mapping[str, Rule] = {
    # OpenAI's, but either reserved by LiteLLM for itself or in no need of translation
    "audio": _OBJECT,
    "metadata": _OBJECT,
    "modalities": _TEXTS,
    "prediction": _OBJECT,
    "prompt_cache_key": _TEXT,
    "prompt_cache_retention": _TEXT,
    "safety_identifier": _TEXT,
    "service_tier": _TEXT,
    "store": _BOOL,
    "verbosity": _TEXT,
    "web_search_options": _OBJECT,
    # vLLM, OVHcloud, Berget
    "add_generation_prompt": _BOOL,
    "add_special_tokens": _BOOL,
    "allowed_token_ids": _ANY,
    "bad_words": _TEXTS,
    "cache_salt": _TEXT,
    "chat_template_kwargs": _OBJECT,
    "continue_final_message": _BOOL,
    "documents": (is_objects, "must be a list of objects"),
    "guided_choice": _TEXTS,
    "guided_decoding_backend": _TEXT,
    "guided_grammar": _TEXT,
    "guided_json": _TEXT_OR_OBJECT,
    "guided_regex": _TEXT,
    "ignore_eos": _BOOL,
    "include_reasoning": _BOOL,
    "include_stop_str_in_output": _BOOL,
    "length_penalty": _NUMBER,
    "min_p": _NUMBER,
    "min_tokens": _WHOLE,
    "mm_processor_kwargs": _OBJECT,
    "priority": _WHOLE,
    "prompt_logprobs": _WHOLE,
    "repetition_penalty": _NUMBER,
    "skip_special_tokens": _BOOL,
    "spaces_between_special_tokens": _BOOL,
    "stop_token_ids": _ANY,
    "structured_outputs": _OBJECT,
    "top_k": _WHOLE,
    "truncate_prompt_tokens": _WHOLE,
    # Mistral
    "prompt_mode": _TEXT,
    "random_seed": _WHOLE,
    "safe_prompt": _BOOL,
    # reasoning models
    "thinking": _OBJECT,
}
"""Parameters that go to the provider unchanged."""

EMBEDDINGS: Mapping[str, Rule] = {
    "dimensions": _COUNT,
    "encoding_format": (lambda value: value in ("float", "base64"), "must be float or base64"),
    "user": _TEXT,
}
EMBEDDING_EXTRAS: Mapping[str, Rule] = {
    "input_type": _TEXT,
    "output_dimension": _COUNT,
    "output_dtype": _TEXT,
    "truncate_prompt_tokens": _WHOLE,
}
