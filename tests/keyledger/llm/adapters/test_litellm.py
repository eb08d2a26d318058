"""Powers that LiteLLM is denied: its own ways out, its memory of calls, and what it reads from the environment."""

import asyncio
from typing import NoReturn

import pytest

from domain.credentials.built_in_providers import BUILT_IN
from keyledger.llm.adapters.environment import cleanse
from keyledger.llm.adapters.litellm import LiteLLMAdapter, parameters_named_in
from keyledger.llm.requests.litellm_plans import Plan
from keyledger.llm.requests.origin import BEARER, Origin
from keyledger.llm.requests.parameters import Request
from keyledger.settings.start_environment import StartEnvironment
from tests.keyledger.llm.rig import HELLO, PROVIDERS, WEATHER, Keys, stand_in, whole, with_gateway
from tests.support.loaded import packages_loaded_by


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    asyncio.run(LiteLLMAdapter().warm_up())


def test_it_translates_without_a_way_out(monkeypatch):
    """Neither a connection nor a name is looked for, whatever it translates, and no prompt waits in a queue."""
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

    def no_way(*_args: object, **_options: object) -> NoReturn:
        raise AssertionError("it called out")

    image = [{"type": "image_url", "image_url": {"url": "https://images.example.com/x.png"}}]
    messages = [*HELLO, {"role": "user", "content": image}]
    plans = {name: _planned(name) for name in ("openai", "azure", "anthropic")}
    for way_out in ("socket.socket.connect", "socket.getaddrinfo", "socket.create_connection"):
        monkeypatch.setattr(way_out, no_way)
    for plan in plans.values():
        body = LiteLLMAdapter().chat(plan, Request({"messages": messages, "tools": WEATHER}, {})).body
        assert b"images.example.com" in body
    queue = GLOBAL_LOGGING_WORKER._queue
    assert queue is None or queue.empty()


def _planned(provider: str) -> Plan:
    row = BUILT_IN.named(provider)
    return Plan(row, Origin("http", "localhost", 80), BEARER, "", "", f"{row.litellm_prefix}/a-model", "a-model")


def test_what_a_translation_does_not_need_is_not_loaded():
    """No encoding of 34 MB."""
    from tiktoken import registry

    with stand_in() as server:
        with_gateway(Keys(server.url), lambda gateway: whole(gateway, "openai-litellm"))
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
