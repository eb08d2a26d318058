"""A provider's failure becomes one of our errors, decided by what the wire saw."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from api.front.problems import openai_error, problem_of
from domain.calls.models import AnswerStream
from domain.errors import (
    ErrorCode,
    ProviderRefusedError,
    ProviderUnavailableError,
    RateLimitedError,
    RejectedCredentialError,
)
from scripts.demo.stand_in_provider import Failure, Misbehaviour, StandInProvider
from tests.keyledger.llm.answered import refused
from tests.keyledger.llm.rig import HELLO, KEY, PROVIDERS, TENANT, Keys, chunks, overdue, stand_in, whole, with_gateway

MODELS = [f"{provider}-{adapter}" for provider in PROVIDERS for adapter in ("litellm", "legacy")]
EACH = pytest.mark.parametrize("model", MODELS)


@pytest.fixture(scope="module")
def _running() -> Iterator[StandInProvider]:
    with stand_in() as running:
        yield running


@pytest.fixture
def server(_running: StandInProvider) -> StandInProvider:
    _running.forget()
    _running.misbehave = None
    return _running


def _fail(server: StandInProvider, model: str, how=whole, keys: Keys | None = None, **options):
    with pytest.raises(Exception) as caught:
        with_gateway(keys or Keys(server.url), lambda gateway: how(gateway, model), **options)
    return caught.value


@EACH
@pytest.mark.parametrize("how", [whole, chunks], ids=["plain", "streamed"])
def test_a_401_means_that_the_key_is_refused(server, model, how):
    wrong = Keys(server.url, keys={TENANT: "sk-wrong-0123456789"})
    error = _fail(server, model, how, keys=wrong)
    assert isinstance(error, RejectedCredentialError)
    assert ("tenant" if model.endswith("litellm") else "global") in error.detail
    assert len(server.requests) == 1


@EACH
@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_another_4xx_is_the_providers_no_to_the_request(server, model, status):
    if status == 403 and model.startswith("ovhcloud"):
        return  # there it is about the key, see below
    server.misbehave = Misbehaviour(Failure.STATUS, status=status)
    error = _fail(server, model)
    assert isinstance(error, ProviderRefusedError)
    assert error.status == status
    assert len(server.requests) == 1


@EACH
@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        pytest.param("7", 7, id="seconds"),
        pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 0, id="a date in the past"),
        pytest.param("9999999", 86400, id="no more than a day"),
        pytest.param("soon", None, id="neither number nor date"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_a_429_keeps_its_retry_after(server, model, sent, seconds):
    server.misbehave = Misbehaviour(Failure.STATUS, status=429, retry_after=sent)
    error = _fail(server, model)
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == seconds
    assert len(server.requests) == 1


@EACH
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(Misbehaviour(Failure.STATUS, status=500), "answered-500", id="a fault of its own"),
        pytest.param(Misbehaviour(Failure.STATUS, status=503), "answered-503", id="an overload"),
        pytest.param(Misbehaviour(Failure.RESET), "connection-lost", id="a reset"),
        pytest.param(Misbehaviour(Failure.NOT_JSON), "answer-not-usable", id="a web page instead of JSON"),
    ],
)
def test_a_provider_with_a_fault_is_unavailable(server, model, error, reason):
    server.misbehave = error
    error = _fail(server, model)
    assert isinstance(error, ProviderUnavailableError)
    assert error.reason == reason
    assert len(server.requests) == 1


@EACH
@pytest.mark.parametrize("how", [whole, chunks], ids=["plain", "streamed"])
def test_a_redirect_is_not_followed(server, model, how):
    with stand_in() as elsewhere:
        server.misbehave = Misbehaviour(Failure.REDIRECT, location=f"{elsewhere.url}/v1/chat/completions")
        error = _fail(server, model, how)
        assert isinstance(error, ProviderUnavailableError)
        assert error.reason == "redirect"
        assert elsewhere.requests == []
        assert len(server.requests) == 1


@pytest.mark.parametrize("model", ["openai-litellm", "anthropic-litellm", "azure-litellm", "mistral-legacy"])
@pytest.mark.parametrize("how", [whole, chunks], ids=["plain", "streamed"])
def test_no_answer_is_a_timeout(server, model, how):
    server.misbehave = Misbehaviour(Failure.HANG)

    def until_overdue(gateway, model):
        return overdue(how(gateway, model), lambda: server.requests)

    assert _fail(server, model, until_overdue).code == ErrorCode.PROVIDER_TIMEOUT
    assert len(server.requests) == 1


@EACH
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(Failure.CUT, "answer-cut-off", id="a cut connection"),
        pytest.param(Failure.MID_STREAM_ERROR, "answer-not-usable", id="an error in the middle"),
    ],
)
def test_a_stream_that_breaks_says_so_after_what_came_before(server, model, error, reason):
    server.misbehave = Misbehaviour(error)
    came: list = []

    async def read(gateway):
        answer = await gateway.complete(TENANT, model, {"messages": HELLO, "stream": True})
        assert isinstance(answer, AnswerStream)
        async for chunk in answer.chunks:
            came.append(chunk)  # noqa: PERF401  what came before the fault is kept

    with pytest.raises(ProviderUnavailableError) as caught:
        with_gateway(Keys(server.url), read)
    assert caught.value.reason == reason
    assert came
    assert KEY not in str(came)


@EACH
def test_a_closed_port_is_not_reachable(server, model):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = _fail(server, model, keys=Keys(f"http://127.0.0.1:{unused.getsockname()[1]}"))
    assert isinstance(error, ProviderUnavailableError)
    assert error.reason == "not-reachable"


def test_a_name_without_an_address_is_not_resolved(server):
    error = _fail(server, "openai-litellm", keys=Keys("http://no-such-host.invalid"))
    assert isinstance(error, ProviderUnavailableError)
    assert error.reason in {"name-not-resolved", "not-reachable"}


@pytest.mark.parametrize("how", [whole, chunks], ids=["plain", "streamed"])
def test_a_call_that_is_cancelled_ends_at_once_and_leaves_the_gateway_usable(server, how):
    async def cancel_one(gateway):
        server.misbehave = Misbehaviour(Failure.HANG)
        call = asyncio.create_task(how(gateway, "vllm-litellm"))
        while not server.requests:  # noqa: ASYNC110  the server is in another thread
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        server.misbehave = None
        return await how(gateway, "vllm-litellm")

    assert with_gateway(Keys(server.url), cancel_one)


CODED = pytest.mark.parametrize("model", ["openai-litellm", "azure-legacy", "anthropic-litellm", "vllm-legacy"])


@CODED
@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param({"error": {"code": "context_length_exceeded", "message": "x"}}, "context_length_exceeded"),
        pytest.param({"error": {"code": "content_filter", "innererror": {"code": "x"}}}, "content_filter", id="Azure"),
        pytest.param(
            {"error": {"code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
            "ResponsibleAIPolicyViolation",
            id="inside an error",
        ),
        pytest.param({"type": "error", "error": {"type": "request_too_large"}}, "request_too_large", id="Anthropic"),
        pytest.param({"code": "model_not_found"}, "model_not_found", id="without an error"),
        pytest.param(
            {"error": {"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
            "content_filter",
            id="Azure says both",
        ),
        *(
            pytest.param({"error": {"message": text}}, "context_length_exceeded", id=text[:30])
            for text in (  # of vLLM, Anthropic, SGLang, Mistral, Google, xAI, Cohere, TGI
                "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
                "prompt is too long: 210000 tokens > 200000 maximum",
                "The input (9001 tokens) is longer than the model's context length (8192 tokens).",
                "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
                "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
                "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
                "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000.",
                "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000",
            )
        ),
        pytest.param({"error": {"type": "exceed_context_size_error"}}, "context_length_exceeded", id="llama.cpp"),
        pytest.param(
            {"type": "error", "error": {"type": "x", "message": "Your credit balance is too low to access the API."}},
            "insufficient_quota",
            id="no credit at Anthropic",
        ),
        pytest.param({"error": {"status": "RESOURCE_EXHAUSTED"}}, "rate_limit_exceeded", id="Google's status"),
    ],
)
def test_a_code_of_the_providers_that_clients_act_on_reaches_them(model: str, body: object, code: str) -> None:
    error = refused(model, "400 Bad Request", body)
    assert isinstance(error, ProviderRefusedError)
    assert (error.status, error.provider_code) == (400, code)
    problem = problem_of(error)
    assert (problem.code, problem.members["provider_code"]) == ("provider-refused", code)
    assert openai_error(problem)["code"] == code


@CODED
@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"error": {"code": KEY}}, id="the key"),
        pytest.param({"error": {"code": "a_code_of_tomorrow"}}, id="an unknown code"),
        pytest.param({"error": {"code": 400, "message": "context_length_exceeded"[:9]}}, id="a number"),
        pytest.param({"error": "no"}, id="a text"),
        pytest.param([], id="a list"),
        pytest.param({"error": {"details": [5, None], "innererror": []}}, id="another shape"),
    ],
)
def test_no_other_text_of_an_error_reaches_anyone(model: str, body: object) -> None:
    error = refused(model, "400 Bad Request", body)
    assert isinstance(error, ProviderRefusedError)
    assert error.provider_code is None
    assert openai_error(problem_of(error))["code"] == "provider-refused"


@CODED
@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param("400 Bad Request", {"error": {"details": [{"reason": "API_KEY_INVALID"}]}}, id="Google"),
        pytest.param("400 Bad Request", {"code": "x", "error": "Incorrect API key provided: na***ys"}, id="xAI"),
        pytest.param("403 Forbidden", {"error": {"code": "invalid_api_key"}}, id="a code with another status"),
    ],
)
def test_a_refused_key_is_one_whatever_the_status(model: str, status: str, body: object) -> None:
    assert isinstance(refused(model, status, body), RejectedCredentialError)


def test_a_403_of_ovhcloud_is_about_the_key() -> None:
    assert isinstance(refused("ovhcloud-litellm", "403 Forbidden", {"message": "x"}), RejectedCredentialError)


@CODED
@pytest.mark.parametrize(
    ("status", "kind", "answered"),
    [
        ("408 Request Timeout", ProviderUnavailableError, 504),
        ("409 Conflict", ProviderUnavailableError, 502),
        ("425 Too Early", ProviderUnavailableError, 502),
        ("503 Service Unavailable", ProviderUnavailableError, 502),
        ("529 Overloaded", ProviderUnavailableError, 502),
        ("498 Capacity", ProviderUnavailableError, 502),
        ("429 Too Many Requests", RateLimitedError, 429),
    ],
)
def test_what_is_worth_a_retry_stays_so(model: str, status: str, kind: type[Exception], answered: int) -> None:
    error = refused(model, f"{status}\r\nretry-after: 7", {"error": {"type": "overloaded_error"}})
    assert isinstance(error, kind)
    problem = problem_of(error)
    assert (problem.status, problem.headers) == (answered, {"Retry-After": "7"})
    assert openai_error(problem)["code"] == ("provider-timeout" if answered == 504 else "overloaded_error")


@CODED
@pytest.mark.parametrize("body", [{"error": {"message": "Insufficient Balance"}}, {"detail": "x"}], ids=["said", "not"])
def test_a_402_says_that_the_account_has_no_credit(model: str, body: object) -> None:
    error = refused(model, "402 Payment Required", body)
    assert isinstance(error, ProviderRefusedError)
    assert error.provider_code == "insufficient_quota"


def test_a_403_of_fireworks_that_says_so_is_about_the_key() -> None:
    body = {"error": {"code": "UNAUTHORIZED", "message": "The API key you provided is invalid."}}
    assert isinstance(refused("openai-litellm", "403 Forbidden", body), RejectedCredentialError)


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [("retry-after: 1.2", 2), ("retry-after-ms: 1500", 2), ("retry-after: 3\r\nretry-after-ms: 2500", 3)],
)
def test_a_fraction_of_a_second_and_milliseconds_are_understood(stated: str, seconds: int) -> None:
    error = refused("openai-litellm", f"429 Too Many Requests\r\n{stated}", {"error": {}})
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == seconds
