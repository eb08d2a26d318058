"""The meter records each call once, when it has ended, with its outcome."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from domain.audit.token_usage import Spent
from domain.audit.usage import GLOBAL_KEY
from domain.calls.models import AnswerStream
from domain.calls.prices import Price, PriceTable
from domain.calls.tokens import Tokens, ToldUsage
from domain.credentials.resolution import Receipt, Source
from domain.errors import InvalidRequestError, RejectedCredentialError, ServiceError
from domain.request_context import REQUEST_ID, SERVICE_KEY
from keyledger.llm import Gateway
from keyledger.llm.adapters.litellm import LiteLLMAdapter
from keyledger.llm.metering import Called, MeteredCall, caller_of
from keyledger.llm.wire.observation import Observation
from scripts.demo.stand_in_provider import Failure, Misbehaviour
from tests.keyledger.llm.rig import HELLO, TENANT, Keys, catalogue, chunks, stand_in, whole, with_gateway
from tests.support.each import each
from tests.support.meter import ListeningMeter, Told

FINE = Told(TENANT, "openai", 3, failed=False, rejected=False, request_id=None)
FAILED = FINE._replace(failed=True)
REJECTED = FAILED._replace(rejected=True)
MODEL = "openai-litellm"

ENDINGS = [
    pytest.param(None, FINE, id="an answer"),
    pytest.param(Misbehaviour(Failure.STATUS, status=401), REJECTED, id="401"),
    pytest.param(Misbehaviour(Failure.STATUS, status=403), FAILED, id="403"),
    pytest.param(Misbehaviour(Failure.STATUS, status=429), FAILED, id="429"),
    pytest.param(Misbehaviour(Failure.STATUS, status=500), FAILED, id="500"),
    pytest.param(Misbehaviour(Failure.RESET), FAILED, id="a connection that is reset"),
    pytest.param(Misbehaviour(Failure.NOT_JSON), FAILED, id="an answer that is not one"),
]
MIDWAY = [
    pytest.param(Misbehaviour(Failure.CUT), FAILED, id="a stream that is cut off"),
    pytest.param(Misbehaviour(Failure.MID_STREAM_ERROR), FAILED, id="an error in the middle of a stream"),
]


def heard(
    use: Callable[[Gateway], Awaitable[object]], wrong: Misbehaviour | None = None, *, raises: type | None = None
) -> list[Told]:
    meter = ListeningMeter()
    with stand_in() as provider:
        provider.misbehave = wrong
        if raises is None:
            with_gateway(Keys(provider.url), use, meter=meter)
        else:
            with pytest.raises(raises):
                with_gateway(Keys(provider.url), use, meter=meter)
    return meter.told


@pytest.mark.parametrize(("wrong", "expected"), ENDINGS)
def test_a_plain_call_counts_once(wrong: Misbehaviour | None, expected: Told) -> None:
    raises = ServiceError if wrong else None
    assert heard(lambda gateway: whole(gateway, MODEL), wrong, raises=raises) == [expected]


@pytest.mark.parametrize(("wrong", "expected"), [*ENDINGS, *MIDWAY])
def test_a_streamed_call_counts_once_at_its_end(wrong: Misbehaviour | None, expected: Told) -> None:
    raises = ServiceError if wrong else None
    assert heard(lambda gateway: chunks(gateway, MODEL), wrong, raises=raises) == [expected]


def test_an_embedding_counts() -> None:
    assert heard(lambda gateway: gateway.embed(TENANT, f"{MODEL}-emb", {"input": "hello"})) == [FINE]


def test_a_stream_that_is_given_up_counts_once_and_as_served() -> None:
    async def give_up(gateway: Gateway) -> None:
        answer = await gateway.complete(TENANT, MODEL, {"messages": HELLO, "stream": True})
        assert isinstance(answer, AnswerStream)
        await anext(answer.chunks)
        await answer.chunks.aclose()
        await answer.chunks.aclose()

    assert heard(give_up) == [FINE]


def test_a_call_that_is_given_up_before_its_answer_counts_as_failed() -> None:
    meter = ListeningMeter()
    with stand_in() as provider:
        provider.misbehave = Misbehaviour(Failure.HANG)

        async def give_up(gateway: Gateway) -> None:
            await LiteLLMAdapter().warm_up()
            call = asyncio.create_task(whole(gateway, MODEL))
            while not provider.requests:  # noqa: ASYNC110  the stand-in lives on another loop
                await asyncio.sleep(0.001)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

        with_gateway(Keys(provider.url), give_up, meter=meter)
    assert meter.told == [FAILED]
    assert [one.tokens for one in meter.spent] == [None], "what it used is not known"


def test_a_call_with_the_global_key_counts_apart_from_those_with_the_tenants_own() -> None:
    assert heard(lambda gateway: whole(gateway, "openai-legacy")) == [FINE._replace(version=GLOBAL_KEY)]


def test_a_call_that_is_not_sent_does_not_count() -> None:
    refused = heard(lambda gateway: whole(gateway, MODEL, temperature="hot"), raises=InvalidRequestError)
    assert refused == []


def test_the_request_that_caused_a_refusal_is_told() -> None:
    async def call(gateway: Gateway) -> None:
        REQUEST_ID.set("req-7")
        await whole(gateway, MODEL)

    wrong = Misbehaviour(Failure.STATUS, status=401)
    assert heard(call, wrong, raises=RejectedCredentialError) == [REJECTED._replace(request_id="req-7")]


@pytest.mark.parametrize(
    ("seen", "failed", "expected"),
    [
        pytest.param(Observation(sent=True, status=200), False, FINE, id="a success"),
        pytest.param(Observation(sent=True, status=404), False, FAILED, id="a refusal that is passed on as it is"),
        pytest.param(Observation(sent=True, status=401, rejected=True), False, REJECTED, id="a key"),
        pytest.param(Observation(sent=True, status=200), True, FAILED, id="a success that was not one in the end"),
        pytest.param(Observation(sent=True), True, FAILED, id="no answer"),
        pytest.param(Observation(), True, None, id="nothing sent"),
    ],
)
def test_whoever_calls_a_provider_can_count(seen: Observation, failed: bool, expected: Told | None) -> None:
    meter = ListeningMeter()
    metered = MeteredCall(meter, TENANT, Receipt(Source.TENANT, "openai", 3, "k0123456789"), seen)
    metered.finish(failed=failed)
    metered.finish(failed=not failed)
    assert meter.told == ([expected] if expected else [])


UNPRICED = Spent("", MODEL, Tokens(5, 7), None, "USD")
PRICES = PriceTable(
    shipped={
        ("openai", "up/openai-model"): Price(Decimal("0.1"), Decimal("0.01")),
        ("openai", "gpt-x"): Price(Decimal(1), Decimal(0)),
    }
)


def spent_by(use: Callable[[Gateway], Awaitable[object]], wrong: Misbehaviour | None = None) -> list[Spent]:
    meter = ListeningMeter()
    with stand_in() as provider:
        provider.misbehave = wrong
        if wrong is None:
            with_gateway(Keys(provider.url), use, meter=meter)
        else:
            with pytest.raises(ServiceError):
                with_gateway(Keys(provider.url), use, meter=meter)
    return meter.spent


@pytest.mark.parametrize("provider", ["openai", "anthropic", "mistral", "vllm"])
def test_the_tokens_of_plain_and_streamed_calls_are_those_that_the_provider_says(provider: str) -> None:
    model = f"{provider}-litellm"
    expected = [UNPRICED._replace(model=model)]
    assert spent_by(lambda gateway: whole(gateway, model)) == expected
    assert spent_by(lambda gateway: chunks(gateway, model)) == expected


def test_a_client_that_did_not_ask_for_counts_gets_none_though_the_provider_is_asked() -> None:
    with stand_in() as provider:
        got = with_gateway(Keys(provider.url), lambda gateway: chunks(gateway, MODEL))
        assert provider.requests[0].body["stream_options"] == {"include_usage": True}
    assert got
    assert not any(chunk.get("usage") for chunk in got)


def test_embeddings_have_input_only() -> None:
    use: Callable[[Gateway], Awaitable[object]] = lambda gateway: gateway.embed(  # noqa: E731
        TENANT, f"{MODEL}-emb", {"input": "hello"}
    )
    assert spent_by(use) == [Spent("", f"{MODEL}-emb", Tokens(5, 0), None, "USD")]


def test_a_call_that_the_provider_refused_used_nothing_and_one_that_was_cut_off_an_unknown_number() -> None:
    refused = spent_by(lambda gateway: whole(gateway, MODEL), Misbehaviour(Failure.STATUS, status=500))
    assert refused == [UNPRICED._replace(tokens=Tokens(0, 0), cost=Decimal(0))]
    cut = spent_by(lambda gateway: chunks(gateway, MODEL), Misbehaviour(Failure.CUT))
    assert cut == [UNPRICED._replace(tokens=None)]


def test_a_call_whose_connection_is_lost_before_an_answer_used_nothing() -> None:
    (spent,) = spent_by(lambda gateway: whole(gateway, MODEL), Misbehaviour(Failure.RESET))
    assert spent.tokens == Tokens(0, 0)


def test_the_service_key_is_named_but_not_a_person_or_an_issuers_caller() -> None:
    SERVICE_KEY.set("app")
    person: Any = SimpleNamespace(digest=None)
    key: Any = SimpleNamespace(digest="d")
    assert (caller_of(None), caller_of(key), caller_of(person)) == ("app", "app", "")


SPENT = {
    "a price": ("m", "up/openai-model", "x", "m", Decimal("0.57")),
    "no price": ("m", "unpriced", "up/openai-model", "m", None),
    "a model that only the answer names": ("", "", "up/openai-model", "openai-litellm", Decimal("0.57")),
    "one that only the price table knows": ("", "", "gpt-x", "gpt-x", Decimal(5)),
    "one that nothing knows": ("", "", "invented", "", None),
}


@each("name", SPENT)
def test_a_call_costs_what_the_table_says_or_an_unknown_amount(name: str) -> None:
    model, upstream, said, *expected = SPENT[name]
    told = ToldUsage()
    told.note({"model": said, "usage": {"prompt_tokens": 5, "completion_tokens": 7}})
    found = Called(catalogue(), PRICES, model, upstream).spent("openai", told, served=True)
    assert [found.model, found.cost] == expected


def test_a_usage_that_is_no_count_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    seen = Observation(sent=True, status=200)
    seen.told.note({"usage": {"prompt_tokens": 10**300, "completion_tokens": 1}})
    meter = ListeningMeter()
    receipt = Receipt(Source.TENANT, "openai", 3, "k0123456789")
    MeteredCall(meter, TENANT, receipt, seen, Called(catalogue(), PRICES, MODEL, "up/openai-model")).finish()
    assert meter.spent == [UNPRICED._replace(tokens=None)]
    assert "openai sent token counts that cannot be used (prompt_tokens)" in caplog.text
