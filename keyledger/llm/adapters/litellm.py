"""Calls models through LiteLLM, which never sees a key. The only module that imports it.

LiteLLM gets a placeholder as the key and `KEYLESS_CLIENT` as the HTTP client; the wire behind that adds the real key.
Every client that LiteLLM creates itself is replaced by the same one, so an unforeseen code path fails instead of
leaking. Importing it takes seconds: `warm_up` does so in a thread and then rehearses with canned answers, so that no
tenant's call has to wait. `environment.cleanse` must run first.
Private names of LiteLLM in use: `AsyncHTTPHandler.create_client`, `HTTPHandler.create_client`, `GLOBAL_LOGGING_WORKER`,
`Logging._response_cost_calculator`. A test covers each.
"""

import asyncio
import gc
import logging
import os
import re
from collections.abc import AsyncIterator, Coroutine
from functools import lru_cache
from typing import Any, ClassVar, NoReturn

import httpx

from domain.calls.models import ModelKind
from domain.credentials.providers import BUILT_IN, Dialect
from domain.errors import InvalidField, InvalidRequestError
from keyledger.llm.adapters.daemon_thread import run_in_daemon_thread
from keyledger.llm.adapters.environment import keep_offline
from keyledger.llm.adapters.rehearsal import canned_answer
from keyledger.llm.requests.litellm_plans import Client, Plan, client_of
from keyledger.llm.requests.parameters import Request
from keyledger.llm.wire.dispatch import CallFailedError
from keyledger.llm.wire.lease import Lease
from keyledger.llm.wire.wire import KEYLESS_CLIENT

PLACEHOLDER = "keyledger-placeholder-no-key"
CLIENTS_KEPT = 256
CHUNKS_KEPT = 4

_ANTHROPIC_EXTRAS = frozenset({"thinking", "top_k", "web_search_options"})
_LENGTHS = ("max_tokens", "max_completion_tokens")
_NOT_THOUGHT_SO = (
    "has a type that this model does not take: models before Claude 4.6 take enabled with budget_tokens and no "
    "adaptive, and models that always think take no disabled"
)
_LOGGERS = ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router", "openai", "httpx")


class LiteLLMAdapter:
    """Calls providers through LiteLLM. Call `warm_up` before anything else."""

    _ready: ClassVar[bool] = False  # it is loaded once for the whole process

    def __init__(self) -> None:
        """Create an adapter for the running event loop; LiteLLM itself is loaded once per process."""
        self._lock = asyncio.Lock()
        self._rehearsal: asyncio.Task[None] | None = None

    @property
    def warm(self) -> bool:
        """Whether `warm_up` has finished."""
        return LiteLLMAdapter._ready

    async def warm_up(self) -> None:
        """Import LiteLLM and rehearse its first calls. Does nothing if that is done.

        Raises whatever a broken installation raises.
        """
        async with self._lock:
            if not LiteLLMAdapter._ready:
                await run_in_daemon_thread(_load)
                self._rehearsal = asyncio.create_task(_rehearse())
                await asyncio.shield(self._rehearsal)
                _freeze_loaded_objects()
                LiteLLMAdapter._ready = True

    async def aclose(self) -> None:
        """Wait for a rehearsal that has started: LiteLLM leaves unfinished calls behind when it is cancelled."""
        if self._rehearsal is not None:
            await asyncio.wait([self._rehearsal])

    async def chat(self, plan: Plan, request: Request) -> dict[str, Any]:
        """Complete a chat under the active lease.

        Raises InvalidRequestError for parameters that the provider does not support, and anything that LiteLLM raises:
        that may quote the provider and must not be passed on.
        """
        return _dumped(await _completion(plan, request))

    async def stream(self, plan: Plan, request: Request) -> AsyncIterator[dict[str, Any]]:
        """Start a streamed chat and return its chunks; the request has then been sent.

        Raises as `chat` does, also later.
        """
        answer = await _completion(plan, request)
        return _chunks(answer)

    async def embed(self, plan: Plan, request: Request) -> dict[str, Any]:
        """Compute embeddings under the active lease. Raises as `chat` does."""
        import litellm

        arguments = _translated(plan, request)
        return _dumped(await litellm.aembedding(**_common_arguments(plan), **arguments))


def parameters_named_in(error: Exception, request: Request) -> list[str]:
    """Return the request's parameters that LiteLLM names in an error, as it does when it cannot translate one."""
    text = str(error)
    return [n for n in (*request.parameters, *request.extras) if re.search(rf"['\"`]{n}['\"`]|\b{n}=", text)]


async def _completion(plan: Plan, request: Request) -> Any:
    import litellm

    arguments = _translated(plan, request)
    return await litellm.acompletion(**_common_arguments(plan), **arguments, stream=request.streaming)


async def _chunks(answer: Any) -> AsyncIterator[dict[str, Any]]:
    """Yield chunks, and drop those that LiteLLM keeps: at the end it would build the whole response on the event loop.

    Only the token counts are used, and they are in the first or the last chunks.
    """
    async for chunk in answer:
        if len(answer.chunks) > 2 * CHUNKS_KEPT:
            del answer.chunks[CHUNKS_KEPT:-CHUNKS_KEPT]
        answer.response_uptil_now = ""
        yield _dumped(chunk)


def _common_arguments(plan: Plan) -> dict[str, Any]:
    """Return the arguments of every call. LiteLLM looks elsewhere for any that is missing."""
    said: dict[str, Any] = {
        "model": plan.litellm_model,
        "api_base": plan.base_url,
        "api_key": PLACEHOLDER,
        "client": _client(plan.client, plan.client_url, plan.api_version),
        "num_retries": 0,
        "max_retries": 0,
        "timeout": 86_400,  # the wire enforces the limits
        "no-log": True,
    }
    return said if plan.api_version is None else {**said, "api_version": plan.api_version}


def _translated(plan: Plan, request: Request) -> dict[str, Any]:
    """Return the caller's members in LiteLLM's words. Raises InvalidRequestError."""
    if plan.dialect is not Dialect.ANTHROPIC:
        # The provider knows best what it supports, so nothing is refused on its behalf.
        if "input" in request.parameters:
            return _embedding_arguments(plan, request)
        passed = [name for name in request.parameters if name != "messages"]
        return {**request.parameters, "extra_body": request.extras, "allowed_openai_params": passed}
    import litellm

    known = set(litellm.get_supported_openai_params(plan.litellm_model) or ()) | {"messages", "stream_options"}
    refused = [name for name in request.parameters if name not in known]
    refused += [name for name in request.extras if name not in _ANTHROPIC_EXTRAS]
    if refused:
        raise InvalidRequestError([InvalidField(name, f"is not supported by {plan.provider}") for name in refused])
    if "thinking" in request.extras and _thinking_sent(plan, request) != request.extras["thinking"]:
        raise InvalidRequestError([InvalidField("thinking", _NOT_THOUGHT_SO)])
    return {**request.parameters, **request.extras}


def _embedding_arguments(plan: Plan, request: Request) -> dict[str, Any]:
    import openai

    own = {"input"} if plan.client is Client.PLAIN else {"input", "encoding_format"}
    rest = {name: value for name, value in request.parameters.items() if name not in own}
    said = {name: value for name, value in request.parameters.items() if name in own}
    # Without an encoding, the SDK would request base64 on its own.
    unasked = {} if plan.client is Client.PLAIN or "encoding_format" in said else {"encoding_format": openai.omit}
    return {**said, "extra_body": {**rest, **request.extras, **unasked}}


def _thinking_sent(plan: Plan, request: Request) -> Any:
    """Return what LiteLLM makes of `thinking`: for some models it sends another kind, or none."""
    import litellm

    config, model = litellm.AnthropicConfig(), plan.upstream_model
    counted = {name: request.parameters[name] for name in _LENGTHS if name in request.parameters}
    mapped = config.map_openai_params({**counted, "thinking": request.extras["thinking"]}, {}, model, drop_params=False)
    return config.transform_request(model, [{"role": "user", "content": "x"}], mapped, {}, {}).get("thinking")


def _dumped(answer: Any) -> dict[str, Any]:
    content: dict[str, Any] = answer.model_dump(exclude_none=True)
    return content


@lru_cache(maxsize=CLIENTS_KEPT)
def _client(kind: Client, url: str, api_version: str | None) -> Any:
    """Return the client for a URL. It holds no key, so all tenants share it."""
    import openai
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    if kind is Client.PLAIN:
        return AsyncHTTPHandler()
    if kind is Client.AZURE:
        return openai.AsyncAzureOpenAI(
            api_key=PLACEHOLDER, azure_endpoint=url, api_version=api_version, http_client=KEYLESS_CLIENT, max_retries=0
        )
    return openai.AsyncOpenAI(api_key=PLACEHOLDER, base_url=url, http_client=KEYLESS_CLIENT, max_retries=0)


def _load() -> None:
    keep_offline(os.environ)  # read during the import
    import tiktoken

    # It would load a hundred thousand tokens, 34 MB, for token counting, which is disabled.
    tiktoken.get_encoding = lambda _name: _NoTokens()  # type: ignore[assignment,return-value]
    import litellm
    from litellm.litellm_core_utils.litellm_logging import Logging
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, HTTPHandler

    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # their messages may quote a provider
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.disable_hf_tokenizer_download = True
    litellm.disable_token_counter = True  # it would load tokenizers, and fetch images named in prompts
    litellm.disable_streaming_logging = True
    litellm.aclient_session = KEYLESS_CLIENT
    AsyncHTTPHandler.create_client = _keyless_client  # type: ignore[method-assign]
    HTTPHandler.create_client = _no_blocking_client  # type: ignore[method-assign]
    # It would queue every prompt for callbacks, of which there are none.
    GLOBAL_LOGGING_WORKER.ensure_initialized_and_enqueue = _discard  # type: ignore[method-assign]
    # It would compute the price of each response, which is not used: a third of a call's work.
    Logging._response_cost_calculator = _no_cost  # type: ignore[method-assign]  # noqa: SLF001
    for setting in ("api_key", "api_base", "headers", "callbacks", "success_callback", "failure_callback"):
        if getattr(litellm, setting, None):
            raise RuntimeError(f"litellm.{setting} is set; no other part of the process may configure it")


def _freeze_loaded_objects() -> None:
    """Exempt LiteLLM's million lasting objects from garbage collection, which would otherwise stall the event loop.

    Not during a call, whose objects would then never be collected.
    """
    gc.collect()
    if not any(isinstance(value, Lease) for value in gc.get_objects()):
        gc.freeze()


def _keyless_client(*_args: object, **_options: object) -> httpx.AsyncClient:
    return KEYLESS_CLIENT


def _no_blocking_client(*_args: object, **_options: object) -> NoReturn:
    raise CallFailedError("blocking-client")  # KeyLedger uses none


class _NoTokens:
    """An encoding without tokens."""

    def encode(self, *_args: object, **_options: object) -> list[int]:
        return []


def _no_cost(*_args: object, **_said: object) -> None:
    return None


def _discard(async_coroutine: Coroutine[Any, Any, object]) -> None:
    async_coroutine.close()


async def _rehearse() -> None:
    """Call each kind of provider once, with canned answers, so that everything LiteLLM loads lazily is loaded."""
    import litellm

    clients = _rehearsal_clients()
    for provider in {row.litellm_prefix: row for row in BUILT_IN.values()}.values():
        versioned = {"api_version": "2024-10-21"} if provider.dialect is Dialect.AZURE else {}
        model = f"{provider.litellm_prefix}/x"
        said = {"model": model, "api_base": "http://canned/v1", "api_key": PLACEHOLDER, **versioned}
        chat_client = clients[client_of(provider, ModelKind.COMPLETION)]
        chat = {**said, "client": chat_client, "messages": [{"role": "user", "content": "hello"}]}
        tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
        _dumped(await litellm.acompletion(**chat, tools=tools))
        async for chunk in await litellm.acompletion(**chat, stream=True):
            _dumped(chunk)
        if provider.dialect is not Dialect.ANTHROPIC:  # Anthropic has no embeddings
            client = clients[client_of(provider, ModelKind.EMBEDDING)]
            await litellm.aembedding(**said, client=client, input=["x"])


def _rehearsal_clients() -> dict[Client, Any]:
    import openai
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    canned = httpx.AsyncClient(transport=httpx.MockTransport(canned_answer), trust_env=False)
    options: dict[str, Any] = {"api_key": PLACEHOLDER, "http_client": canned, "max_retries": 0}
    plain = AsyncHTTPHandler()
    plain.client = canned
    return {
        Client.PLAIN: plain,
        Client.OPENAI: openai.AsyncOpenAI(base_url="http://canned/v1", **options),
        Client.AZURE: openai.AsyncAzureOpenAI(azure_endpoint="http://canned/v1", api_version="2024-10-21", **options),
    }
