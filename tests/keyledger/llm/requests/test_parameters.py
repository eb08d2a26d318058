"""Whatever a client sends is refused cleanly or can be sent."""

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import InvalidRequestError, ProviderRefusedError, ServiceError
from keyledger.llm.requests.allowed_parameters import CHAT, CHAT_EXTRAS
from keyledger.llm.requests.parameters import chat_request, embeddings_request
from tests.keyledger.llm.rig import HELLO, KEY, PROVIDERS, TENANT, WEATHER, Keys, stand_in, whole, with_gateway
from tests.support.each import each

CONTROL_WORDS = """
additional_drop_params allowed_openai_params api_base api_key api_version azure azure_ad_token
azure_ad_token_provider base_model base_url cache caching callbacks client client_secret
context_window_fallback_dict custom_llm_provider default_headers deployment_id drop_params
extra_headers extra_query failure_callback fallbacks guardrails headers hf_model_name input_cost_per_token
litellm_credential_name litellm_logging_obj litellm_metadata litellm_params max_retries mock_delay
mock_response mock_timeout mock_tool_calls model_list models Models no-log num_retries organization prompt_id
provider_specific_header proxy_server_request request_timeout shared_session stream_timeout success_callback
tags timeout use_litellm_proxy
"""
# Words that steer LiteLLM, or carry keys elsewhere.


@each("name", CONTROL_WORDS.split())
def test_a_control_word_of_the_adapter_is_refused_by_name(name):
    with pytest.raises(InvalidRequestError) as refused:
        chat_request({"messages": HELLO, name: "sk-smuggled-0123456789"})
    (error,) = refused.value.fields
    assert error.field == name
    assert "smuggled" not in str(refused.value)


@each("name", ["reasoning", "provider", "extra_body", "search_domain_filter", "a_member_of_tomorrow"])
@each("model", ["openai-litellm", "azure-litellm", "vllm-litellm", "berget-litellm", "openrouter-litellm"])
def test_a_member_of_the_providers_own_reaches_it(model, name):
    asked: dict[str, Any] = {name: {"effort": ["low", None]}}
    with stand_in() as server:
        with_gateway(Keys(server.url), lambda gateway: whole(gateway, model, **asked))
        assert server.requests[0].body[name] == asked[name]


@each("model", ["anthropic-litellm", "anthropic-legacy", "mistral-litellm"])
def test_a_member_that_a_strict_provider_does_not_know_is_refused_by_name(model):
    with stand_in() as server:
        with pytest.raises(InvalidRequestError) as refused:
            with_gateway(Keys(server.url), lambda gateway: whole(gateway, model, a_member_of_tomorrow=1))
        assert ([error.field for error in refused.value.fields], server.requests) == (["a_member_of_tomorrow"], [])


@each("name", ["Stream", "MODEL", "Max_Tokens", "N"])
def test_another_spelling_of_a_known_member_is_refused(name):
    with pytest.raises(InvalidRequestError):
        chat_request({"messages": HELLO, name: 1})


@each("name", ["truncate", "a_member_of_tomorrow"])
def test_a_member_of_embeddings_reaches_the_provider(name):
    async def embed(gateway):
        await gateway.embed(TENANT, "vllm-litellm-emb", {"input": "x", name: "END"})

    with stand_in() as server:
        with_gateway(Keys(server.url), embed)
        assert server.requests[0].body[name] == "END"


def test_the_global_key_passes_on_no_unknown_member_of_embeddings():
    async def embed(gateway):
        await gateway.embed(TENANT, "vllm-legacy-emb", {"input": "x", "a_member_of_tomorrow": 1})

    with stand_in() as server:
        with pytest.raises(InvalidRequestError) as refused:
            with_gateway(Keys(server.url), embed)
        assert ([error.field for error in refused.value.fields], server.requests) == (["a_member_of_tomorrow"], [])


@pytest.mark.parametrize(
    "name", ["sk-abcdefgh12345678", "sk-only-letters", "aB3dE6gH9jK2mN", "a b", "", "é", "x" * 200, "key'\n"]
)
def test_a_member_that_does_not_look_like_a_name_is_not_repeated(name):
    with pytest.raises(InvalidRequestError) as refused:
        chat_request({"messages": HELLO, name: 1})
    assert [error.field for error in refused.value.fields] == ["an unknown member"]
    assert not name or name not in str(refused.value)


@each(
    ("params", "field"),
    [
        pytest.param({}, "messages", id="no messages"),
        pytest.param({"messages": None}, "messages", id="messages null"),
        pytest.param({"messages": []}, "messages", id="messages empty"),
        pytest.param({"messages": "hello"}, "messages", id="messages a text"),
        pytest.param({"messages": ["hello"]}, "messages", id="a message that is a text"),
        pytest.param({"messages": [{"content": "x"}]}, "messages", id="a message without a role"),
        pytest.param({"messages": [{"role": "king", "content": "x"}]}, "messages", id="an unknown role"),
        pytest.param({"messages": [{"role": ["user"], "content": "x"}]}, "messages", id="a role that is a list"),
        pytest.param({"messages": [{"role": "user"}]}, "messages", id="a user without content"),
        pytest.param({"messages": [{"role": "user", "content": 5}]}, "messages", id="content a number"),
        pytest.param({"messages": [{"role": "user", "content": ["x"]}]}, "messages", id="content a list of texts"),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages", id="text without text"
        ),
        pytest.param({"messages": [{"role": "tool", "content": "x"}]}, "messages", id="a tool without its call"),
        pytest.param({"messages": [{"role": "assistant", "tool_calls": [1]}]}, "messages", id="a tool call a number"),
        pytest.param({"messages": HELLO, "stream": "yes"}, "stream", id="stream a text"),
        pytest.param({"messages": HELLO, "stream": 1}, "stream", id="stream a number"),
        pytest.param({"messages": HELLO, "n": 0}, "n", id="n zero"),
        pytest.param({"messages": HELLO, "n": True}, "n", id="n true"),
        pytest.param({"messages": HELLO, "n": 1.5}, "n", id="n a fraction"),
        pytest.param({"messages": HELLO, "temperature": "hot"}, "temperature", id="temperature a text"),
        pytest.param({"messages": HELLO, "temperature": math.nan}, "the body", id="not a number"),
        pytest.param({"messages": HELLO, "max_tokens": -1}, "max_tokens", id="a negative limit"),
        pytest.param({"messages": HELLO, "max_tokens": 10**5000}, "the body", id="an endless number"),
        pytest.param({"messages": HELLO, "tools": {}}, "tools", id="tools an object"),
        pytest.param({"messages": HELLO, "tools": [{}]}, "tools", id="a tool without a type"),
        pytest.param({"messages": HELLO, "tools": [{"type": "function"}]}, "tools", id="a function without a name"),
        pytest.param({"messages": HELLO, "response_format": {}}, "response_format", id="a format without a type"),
        pytest.param({"messages": HELLO, "logit_bias": {"5": "x"}}, "logit_bias", id="a bias that is a text"),
        pytest.param({"messages": [{"role": "user", "content": "\ud800"}]}, "the body", id="half a character"),
        pytest.param({"messages": HELLO, "stop": b"x"}, "the body", id="bytes"),
    ],
)
def test_a_wrong_form_is_refused_with_its_field(params, field):
    with pytest.raises(InvalidRequestError) as refused:
        chat_request(params)
    assert [error.field for error in refused.value.fields] == [field]


def test_all_faults_are_named_at_once():
    with pytest.raises(InvalidRequestError) as refused:
        chat_request({"messages": 1, "stream": 1, "n": 0, "api_key": "x"})
    assert {error.field for error in refused.value.fields} == {"messages", "stream", "n", "api_key"}


def test_nesting_without_measure_is_refused():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidRequestError):
        chat_request({"messages": HELLO, "metadata": {"x": deep}})


def test_nulls_and_the_model_are_left_out_and_the_rest_is_a_copy():
    messages = [{"role": "user", "content": "hello"}]
    request = chat_request({"model": "m", "messages": messages, "temperature": None, "top_k": 5, "stream": None})
    assert request.parameters == {"messages": messages}
    assert request.parameters["messages"] is not messages
    assert (request.extras, request.streaming) == ({"top_k": 5}, False)


@pytest.mark.parametrize("value", ["one", ["one", "two"], [1, 2], [[1, 2], [3]]])
def test_embeddings_take_texts_and_tokens(value):
    assert embeddings_request({"input": value}).parameters == {"input": value}


@pytest.mark.parametrize("value", [None, "", [], 5, {}, [None], ["x", 1], [[]], [["x"]], [True]])
def test_embeddings_refuse_other_inputs(value):
    with pytest.raises(InvalidRequestError) as refused:
        embeddings_request({"input": value})
    assert refused.value.fields[0].field == "input"


@pytest.mark.parametrize(
    ("params", "field"),
    [
        pytest.param({"logit_bias": {"1": 2}}, "logit_bias", id="a member it does not know"),
        pytest.param({"n": 2}, "n", id="several answers"),
        pytest.param({"guided_json": {}}, "guided_json", id="another server's extra"),
        pytest.param({"tools": [{"type": "unheard_of"}]}, "tools", id="a tool of another kind"),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "x"}}]}]},
            "messages",
            id="content of another kind",
        ),
    ],
)
@pytest.mark.parametrize("adapter", ["litellm", "legacy"])
def test_what_anthropic_has_no_words_for_is_refused_before_it_is_sent(params, field, adapter):
    with stand_in() as server:
        try:
            with_gateway(Keys(server.url), lambda gateway: whole(gateway, f"anthropic-{adapter}", **params))
        except InvalidRequestError as refused:
            assert field in {error.field for error in refused.fields}
            assert server.requests == []
        else:
            assert adapter == "litellm"  # it found words for it, and the provider decides


@each("url", ["http://127.0.0.1:9/x.png", "http://169.254.169.254/x.png", "ftp://x/y", "x"])
@each("model", ["anthropic-litellm", "openai-litellm", "mistral-litellm", "vllm-litellm"])
def test_an_image_is_never_fetched_from_here(model, url):
    with stand_in() as images, stand_in() as server:
        target = url.replace("http://127.0.0.1:9", images.url)
        content = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": target}}]
        for more in ({}, {"stream": True}):
            messages = [{"role": "user", "content": content}]
            _sent_or_refused(server, model, {"messages": messages, **more})
        assert images.requests == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_MESSAGE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"]),
        "content": _JSON | st.text(),
    },
    optional={
        "tool_call_id": _JSON | st.text(),
        "name": _JSON,
        "tool_calls": st.lists(
            st.fixed_dictionaries(
                {"id": st.text(max_size=4), "type": st.just("function")},
                optional={"function": st.fixed_dictionaries({"name": st.text(), "arguments": st.text()})},
            ),
            max_size=2,
        )
        | _JSON,
        "function_call": _JSON,
        "reasoning_content": _JSON,
        "thinking_blocks": _JSON,
        "cache_control": _JSON,
    },
)
_PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "input_audio", "file", "video_url", "document", "thinking", "x"])},
    optional={"text": st.text(), "image_url": _JSON, "file": _JSON, "input_audio": _JSON, "cache_control": _JSON},
)
_MESSAGES = st.lists(
    _MESSAGE | st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": st.lists(_PART)}),
    min_size=1,
    max_size=3,
)
_TOOLS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["function", "custom", "web_search"])},
        optional={
            "function": st.fixed_dictionaries({"name": st.text()}, optional={"parameters": _JSON, "strict": _JSON})
        },
    ),
    max_size=2,
)
_PARAMS = st.fixed_dictionaries(
    {"messages": _MESSAGES | st.just(HELLO) | _JSON},
    optional={
        "tools": _TOOLS,
        **dict.fromkeys(("tool_choice", "response_format", "stop", "stream_options", "n"), _JSON),
    },
)
_ANY_PARAMS = st.dictionaries(
    st.sampled_from([*CHAT, *CHAT_EXTRAS, "messages", "stream", "api_key"]), _JSON, max_size=4
)


@settings(max_examples=150, deadline=None)
@given(params=_PARAMS | _ANY_PARAMS)
def test_any_request_is_refused_or_can_be_sent(params):
    try:
        request = chat_request(params)
    except InvalidRequestError as refused:
        assert refused.fields
    else:
        json.dumps([request.parameters, request.extras], allow_nan=False).encode()


@each("adapter", ["litellm", "legacy"])
@each("provider", PROVIDERS)
def test_no_request_makes_a_fault_of_ours(provider, adapter):
    model = f"{provider}-{adapter}"
    with stand_in() as server:

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(params=_PARAMS)
        def every_request(params):
            _sent_or_refused(server, model, params)

        every_request()


def _sent_or_refused(server, model, params):
    """Call, and hold that the request was sent, or refused as the client's fault."""

    async def call(gateway):
        answer = await gateway.complete(TENANT, model, params)
        if hasattr(answer, "chunks"):
            assert [chunk async for chunk in answer.chunks]

    server.forget()
    try:
        with_gateway(Keys(server.url), call)
    except (InvalidRequestError, ProviderRefusedError):
        return
    except ServiceError as error:
        # The stand-in does not understand every request; what it was sent counts.
        assert server.requests, error
    assert [request.key for request in server.requests] == [KEY]


ADAPTIVE, BUDGET, DISABLED = {"type": "adaptive"}, {"type": "enabled", "budget_tokens": 1024}, {"type": "disabled"}
THINKING = [
    pytest.param("claude-sonnet-4-5", BUDGET, True, id="a budget, before 4.6"),
    pytest.param("claude-sonnet-4-5", DISABLED, True, id="disabled, before 4.6"),
    pytest.param("claude-sonnet-4-5", ADAPTIVE, False, id="adaptive, before 4.6"),
    pytest.param("claude-opus-4-6", ADAPTIVE, True, id="adaptive, from 4.6 on"),
    pytest.param("claude-opus-4-6", {**ADAPTIVE, "display": "omitted"}, True, id="adaptive without display"),
    pytest.param("claude-opus-4-6", BUDGET, True, id="a budget, 4.6"),
    pytest.param("claude-mythos-5", DISABLED, False, id="disabled, where it always thinks"),
]


@each(("model", "thinking", "sent"), THINKING)
@each("max_tokens", [500, 2000])
def test_thinking_is_sent_as_it_was_asked_for_or_refused_by_name(model, thinking, sent, max_tokens):
    with stand_in() as server:
        try:
            with_gateway(
                Keys(server.url), lambda gateway: whole(gateway, model, thinking=thinking, max_tokens=max_tokens)
            )
        except InvalidRequestError as refused:
            assert ([error.field for error in refused.fields], sent, server.requests) == (["thinking"], False, [])
        else:
            assert (server.requests[0].body["thinking"], sent) == (thinking, True)


@each("asked", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
@each("provider", [name for name in PROVIDERS if name != "anthropic"])
def test_embeddings_are_asked_for_in_no_encoding_but_the_callers(provider, asked):
    async def embed(gateway):
        await gateway.embed(TENANT, f"{provider}-litellm-emb", {"input": "x", **asked})

    with stand_in() as server:
        with_gateway(Keys(server.url), embed)
        body = server.requests[0].body
    assert {name: value for name, value in body.items() if name == "encoding_format"} == asked
    assert set(body) <= {"model", "input", *asked}


def test_the_usual_parameters_reach_the_provider_unchanged():
    sent: dict[str, Any] = {
        "temperature": 0,
        "top_p": 0.5,
        "stop": ["x"],
        "seed": 5,
        "max_tokens": 10,
        "tool_choice": "auto",
        "user": "u",
    }
    with stand_in() as server:
        with_gateway(Keys(server.url), lambda gateway: whole(gateway, "openai-litellm", tools=WEATHER, **sent))
        body = server.requests[0].body
        assert {name: body[name] for name in sent} == sent
        assert body["tools"] == WEATHER
