"""Powers that LiteLLM is denied: its own ways out, its memory of calls, and what it reads from the environment."""

import asyncio

import pytest

from keyledger.llm.adapters.environment import cleanse
from keyledger.llm.adapters.litellm import LiteLLMAdapter, parameters_named_in
from keyledger.llm.requests.parameters import Request
from keyledger.llm.wire.dispatch import CallFailedError
from keyledger.llm.wire.wire import KEYLESS_CLIENT
from keyledger.settings.start_environment import StartEnvironment
from tests.keyledger.llm.rig import HELLO, PROVIDERS, Keys, stand_in, whole, with_gateway
from tests.support.loaded import packages_loaded_by


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    asyncio.run(LiteLLMAdapter().warm_up())


def test_a_client_that_it_makes_itself_leads_to_our_outlet():
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    assert AsyncHTTPHandler().client is KEYLESS_CLIENT


def test_a_blocking_client_cannot_be_made():
    from litellm.llms.custom_httpx.http_handler import HTTPHandler

    with pytest.raises(CallFailedError):
        HTTPHandler()


@pytest.mark.parametrize("prefix", ["openai", "anthropic", "mistral", "ovhcloud", "hosted_vllm", "azure"])
def test_a_call_past_the_gateway_does_not_leave_the_process(prefix):
    import litellm

    async def call(url: str) -> None:
        version = {"api_version": "2024-10-21"} if prefix == "azure" else {}
        await litellm.acompletion(
            f"{prefix}/m", messages=HELLO, api_base=url, api_key="sk-direct-0123456789", num_retries=0, **version
        )

    with stand_in() as server:
        with pytest.raises(Exception, match=r"no-lease|Connection error"):
            asyncio.run(call(server.url))
        assert server.requests == []


def test_closing_the_outlet_does_not_close_it_for_others():
    asyncio.run(KEYLESS_CLIENT.aclose())
    assert not KEYLESS_CLIENT.is_closed


def test_it_keeps_no_queue_of_finished_calls():
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

    with stand_in() as server:
        with_gateway(Keys(server.url), lambda gateway: whole(gateway, "openai-litellm"))
    queue = GLOBAL_LOGGING_WORKER._queue
    assert queue is None or queue.empty()


def test_what_nobody_asks_for_is_not_done(monkeypatch):
    """Neither prices nor OpenAI's own client, together half of a call's work, nor an encoding of 34 MB."""
    from litellm import cost_calculator
    from openai.resources.chat.completions import AsyncCompletions
    from tiktoken import registry

    asked: list[str] = []
    monkeypatch.setattr(cost_calculator, "cost_per_token", lambda *_, **__: asked.append("prices"))
    monkeypatch.setattr(AsyncCompletions, "create", lambda *_, **__: asked.append("client"))
    with stand_in() as server:
        with_gateway(Keys(server.url), lambda gateway: whole(gateway, "openai-litellm"))
    assert asked == []
    assert registry.ENCODINGS == {}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param("gpt-5 does not support temperature=0.2", ["temperature"], id="as an assignment"),
        pytest.param("does not support parameters: ['n', 'seed']", ["n", "seed"], id="in a list"),
        pytest.param("something about users and stopping", [], id="no name at all"),
    ],
)
def test_a_refusal_of_its_own_names_the_members(text, names):
    members = {"messages": HELLO, "temperature": 0.2, "n": 2, "seed": 1, "user": "u", "stop": "x"}
    assert parameters_named_in(ValueError(text), Request(members, {})) == names


def test_a_parameter_that_a_model_does_not_take_is_refused_by_name():
    from domain.errors import InvalidRequestError

    with stand_in() as server, pytest.raises(InvalidRequestError, match="reasoning_effort"):
        with_gateway(Keys(server.url), lambda gateway: whole(gateway, "anthropic-litellm", reasoning_effort="low"))


def test_loading_our_package_does_not_load_it():
    assert not packages_loaded_by("import keyledger.llm") & {"litellm", "openai", "tiktoken"}


def test_after_the_cleansing_no_provider_variable_is_left():
    kept = {
        "PATH": "/bin",
        "HOME": "/h",
        "TENANT_CREDENTIALS_ENABLED": "true",
        "SSL_CERT_FILE": "f",
    }
    taken = {f"{name.upper()}_API_KEY": "x" for name in PROVIDERS} | dict.fromkeys(
        (
            *("OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_ORGANIZATION", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"),
            *(
                "AZURE_OPENAI_API_KEY",
                "AZURE_AD_TOKEN",
                "AZURE_CLIENT_SECRET",
                "ANTHROPIC_AUTH_TOKEN",
                "VLLM_MODEL_URL",
            ),
            *("HOSTED_VLLM_API_BASE", "GEMINI_API_KEY", "USE_LITELLM_PROXY", "LITELLM_PROXY_API_KEY", "LITELLM_LOG"),
            *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "SSLKEYLOGFILE"),
        ),
        "x",
    )
    environ = {**kept, **taken}
    cleanse(StartEnvironment(environ))
    assert not set(taken) & set(environ)
    assert {name: environ[name] for name in kept} == kept
