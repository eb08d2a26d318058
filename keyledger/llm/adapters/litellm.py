"""Translates requests for providers with LiteLLM, which never sees a key. The only module that imports it.

LiteLLM is used as a library that computes: it maps parameters, and writes bodies for APIs other than OpenAI's. It gets
no client and no way to call out, and it never sees an answer. Importing it takes seconds: `warm_up` does so in a thread
and then loads what it loads lazily, so that no tenant's call has to wait. `environment.cleanse` must run first.
"""

import asyncio
import gc
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, ClassVar

from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.providers import Dialect
from domain.errors import InvalidField, InvalidRequestError
from keyledger.llm.adapters.anthropic_form import for_anthropic
from keyledger.llm.adapters.daemon_thread import run_in_daemon_thread
from keyledger.llm.adapters.environment import keep_offline
from keyledger.llm.adapters.openai_body import openai_body, require_one_limit
from keyledger.llm.requests.litellm_plans import Plan
from keyledger.llm.requests.origin import BEARER, Origin
from keyledger.llm.requests.parameters import Request
from keyledger.llm.requests.prepared import Prepared, encoded
from keyledger.llm.wire.lease import Lease

NAMED_IN = 1000
"""Characters of an error that are searched for names."""
PLACEHOLDER = "keyledger-placeholder-no-key"

_ANTHROPIC_EXTRAS = frozenset({"thinking", "top_k", "web_search_options"})
_ANTHROPIC_HEADERS = ("anthropic-version", "anthropic-beta")
_LENGTHS = ("max_tokens", "max_completion_tokens")
_NOT_THOUGHT_SO = (
    "has a type that this model does not take: models before Claude 4.6 take enabled with budget_tokens and no "
    "adaptive, and models that always think take no disabled"
)
_LOGGERS = ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router", "openai", "httpx")
_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
_REHEARSED = Request({"messages": [{"role": "user", "content": "hello"}], "temperature": 1, "tools": [_TOOL]}, {})


class LiteLLMAdapter:
    """Prepares requests with LiteLLM. Call `warm_up` before anything else."""

    ready: ClassVar[bool] = False  # it is loaded once for the whole process

    def __init__(self) -> None:
        """Create an adapter for the running event loop; LiteLLM itself is loaded once per process."""
        self._lock = asyncio.Lock()

    @property
    def warm(self) -> bool:
        """Whether `warm_up` has finished."""
        return LiteLLMAdapter.ready

    async def warm_up(self) -> None:
        """Import LiteLLM and rehearse its work. Does nothing if that is done.

        Raises whatever a broken installation raises.
        """
        async with self._lock:
            if not LiteLLMAdapter.ready:
                await run_in_daemon_thread(_load)
                _freeze_loaded_objects()
                LiteLLMAdapter.ready = True

    def chat(self, plan: Plan, request: Request) -> Prepared:
        """Prepare a chat.

        Raises InvalidRequestError for parameters that the provider does not support, and anything that LiteLLM raises.
        """
        if plan.row.dialect is Dialect.ANTHROPIC:
            return _anthropic(plan, request)
        return Prepared(encoded(openai_body(plan, _by_model(plan, request) if plan.row.by_model else request)))


def preload() -> None:
    """Do what `warm_up` does, in a process that has no event loop, for those that are forked from it.

    Raises whatever a broken installation raises.
    """
    _load()
    LiteLLMAdapter.ready = True


def parameters_named_in(error: Exception, request: Request) -> list[str]:
    """Return the request's parameters that LiteLLM names in an error, as it does when it cannot translate one."""
    # Its own first words: the whole prompt may come after them.
    text = str(error)[:NAMED_IN].partition("Received")[0]
    return [n for n in (*request.parameters, *request.extras) if re.search(rf"['\"`]{n}['\"`]|\b{n}=", text)]


def _by_model(plan: Plan, request: Request) -> Request:
    """Return a request with the parameters that its model takes, such as another name of the limit.

    Raises what LiteLLM raises for those that it does not take.
    """
    require_one_limit(request)
    passed = [name for name in request.parameters if name != "messages"]
    mapped = _mapped(plan, request, {"allowed_openai_params": passed})
    members = dict(request.parameters)  # nothing else of what LiteLLM makes of them is sent
    if "max_tokens" in members and "max_tokens" not in mapped and "max_completion_tokens" in mapped:
        members["max_completion_tokens"] = members.pop("max_tokens")
    return Request(members, request.extras, request.streaming)


def _anthropic(plan: Plan, request: Request) -> Prepared:
    from litellm.anthropic_beta_headers_manager import update_request_with_filtered_beta
    from litellm.constants import RESPONSE_FORMAT_TOOL_NAME
    from litellm.llms.anthropic.chat.transformation import ANTHROPIC_TOOL_NAME_REVERSE_MAP_KEY

    asked = for_anthropic(request)
    _require_supported(plan, asked)
    optional = _mapped(plan, asked, asked.extras)
    messages = deepcopy(asked.parameters["messages"])
    optional.pop("json_mode", None)
    optional |= {"is_vertex_request": False}
    said: dict[str, Any] = {"api_base": plan.base_url}
    config = _config(plan)
    headers = config.validate_environment(
        api_key=PLACEHOLDER,
        headers={},
        model=_model(plan),
        messages=messages,
        optional_params=optional,
        litellm_params=said,
        api_base=plan.base_url,
    )
    body = config.transform_request(
        model=_model(plan), messages=messages, optional_params=optional, litellm_params=said, headers=headers
    )
    if "user" in asked.parameters:  # LiteLLM leaves out one that looks like an address
        body["metadata"] = {**(body.get("metadata") or {}), "user_id": asked.parameters["user"]}
    headers, body = update_request_with_filtered_beta(headers=headers, request_data=body, provider="anthropic")
    return Prepared(
        encoded({**body, "stream": request.streaming}),
        tuple((name, headers[name]) for name in _ANTHROPIC_HEADERS if headers.get(name)),
        said.get(ANTHROPIC_TOOL_NAME_REVERSE_MAP_KEY) or {},
        RESPONSE_FORMAT_TOOL_NAME if _was_added(RESPONSE_FORMAT_TOOL_NAME, body, asked) else "",
    )


def _was_added(name: str, body: dict[str, Any], asked: Request) -> bool:
    """Return whether a tool was added to those that were asked for."""
    own = {tool.get("function", {}).get("name") for tool in asked.parameters.get("tools") or []}
    return name not in own and any(tool.get("name") == name for tool in body.get("tools") or [])


def _mapped(plan: Plan, request: Request, more: dict[str, Any]) -> dict[str, Any]:
    """Return a request's parameters, and `more`, as those of the provider. Raises what LiteLLM raises.

    Messages have no part in it, and copying them would take longer than all the rest.
    """
    from litellm import utils

    parameters = {name: value for name, value in request.parameters.items() if name != "messages"}
    asked: dict[str, Any] = deepcopy({**parameters, **more})
    if plan.api_version is not None:
        asked["api_version"] = plan.api_version
    optional: dict[str, Any] = utils.get_optional_params(
        model=_model(plan), custom_llm_provider=_prefix(plan), stream=request.streaming or None, max_retries=0, **asked
    )
    for name in ("max_retries", "stream"):
        optional.pop(name, None)
    return optional


def _config(plan: Plan) -> Any:
    from litellm.types.utils import LlmProviders
    from litellm.utils import ProviderConfigManager

    config = ProviderConfigManager.get_provider_chat_config(model=_model(plan), provider=LlmProviders(_prefix(plan)))
    if config is None:
        raise ValueError("LiteLLM has no configuration for this provider")
    return config


def _prefix(plan: Plan) -> str:
    return plan.litellm_model.partition("/")[0]


def _model(plan: Plan) -> str:
    """Return the name by which LiteLLM knows what a model supports."""
    return plan.litellm_model.partition("/")[2]


def _require_supported(plan: Plan, request: Request) -> None:
    """Require that nothing would be dropped or changed. Raises InvalidRequestError."""
    import litellm

    known = set(litellm.get_supported_openai_params(plan.litellm_model) or ()) | {"messages", "stream_options"}
    refused = [name for name in request.parameters if name not in known]
    refused += [name for name in request.extras if name not in _ANTHROPIC_EXTRAS]
    if refused:
        raise InvalidRequestError([InvalidField(name, f"is not supported by {plan.row.name}") for name in refused])
    if "thinking" in request.extras and _thinking_sent(plan, request) != request.extras["thinking"]:
        raise InvalidRequestError([InvalidField("thinking", _NOT_THOUGHT_SO)])


def _thinking_sent(plan: Plan, request: Request) -> Any:
    """Return what LiteLLM makes of `thinking`: for some models it sends another kind, or none."""
    import litellm

    config, model = litellm.AnthropicConfig(), _model(plan)
    counted = {name: request.parameters[name] for name in _LENGTHS if name in request.parameters}
    mapped = config.map_openai_params({**counted, "thinking": request.extras["thinking"]}, {}, model, drop_params=False)
    return config.transform_request(model, [{"role": "user", "content": "x"}], mapped, {}, {}).get("thinking")


def _load() -> None:
    keep_offline(os.environ)  # read during the import
    with _without_encoding():
        import litellm

        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # their messages may quote a request
        litellm.suppress_debug_info = True
        litellm.telemetry = False
        litellm.disable_hf_tokenizer_download = True
        litellm.disable_token_counter = True  # it would load tokenizers, and fetch images named in prompts
        _rehearse()


@contextmanager
def _without_encoding() -> Iterator[None]:
    """Keep LiteLLM from loading a hundred thousand tokens, 34 MB, when it is imported: no tokens are counted."""
    import tiktoken

    loaded = tiktoken.get_encoding
    tiktoken.get_encoding = lambda _name: _NoTokens()  # type: ignore[assignment,return-value]
    try:
        yield
    finally:
        tiktoken.get_encoding = loaded


class _NoTokens:
    """An encoding without tokens."""

    name = "none"

    def encode(self, *_args: object, **_options: object) -> list[int]:
        return []


def _rehearse() -> None:
    """Prepare a chat for each kind of provider that needs it, so that everything LiteLLM loads lazily is loaded."""
    for row in BUILT_IN.values():
        if row.needs_litellm:
            plan = Plan(row, Origin("http", "localhost", 80), BEARER, "", "", f"{row.litellm_prefix}/x", "x")
            LiteLLMAdapter().chat(plan, _REHEARSED)


def _freeze_loaded_objects() -> None:
    """Exempt LiteLLM's million lasting objects from garbage collection, which would otherwise stall the event loop.

    Not during a call, whose objects would then never be collected.
    """
    gc.collect()
    if not any(isinstance(value, Lease) for value in gc.get_objects()):
        gc.freeze()
