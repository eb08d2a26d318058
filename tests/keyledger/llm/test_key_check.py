"""Whether a provider accepts a key, asked with one request; an answer that does not say is never taken for a yes."""

import asyncio
from urllib.parse import urlsplit

import pytest

from domain.calls.native_rules import NativeRules
from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.providers import CredentialConfig
from domain.credentials.resolution import ResolutionPolicy, Resolver
from domain.credentials.secret import Secret
from domain.endpoints.rules import EndpointRules
from domain.errors import ErrorCode, InvalidRequestError, ProviderError
from keyledger.llm.call_configuration import CallConfiguration
from keyledger.llm.key_check import KeyCheck
from keyledger.settings.ai_models import Catalogue
from scripts.demo.misbehaviour import Failure, Misbehaviour
from scripts.demo.stand_in_provider import StandInProvider
from tests.support.meter import ListeningMeter
from tests.support.scenario import TENANT, ClearSealer
from tests.support.tenants import tenant_reader

GOOD, BAD = Secret("sk-good-0123456789"), Secret("sk-bad-0123456789")
AZURE = {"api_version": "2024-10-21", "deployment_name": "gpt-4o"}
PROVIDERS = [name for name in BUILT_IN if not BUILT_IN[name].models_are_public]


def asked(provider: StandInProvider, name: str, secret: Secret) -> None:
    """Ask a provider, and raise what the check raises."""
    rules = EndpointRules.of([urlsplit(provider.url).netloc])
    policy = ResolutionPolicy(True, True, {}, {"openai": f"{provider.url}/v1"})
    resolver = Resolver(None, ClearSealer(), policy, tenant_reader())  # type: ignore[arg-type]  # nothing is read
    configuration = CallConfiguration(Catalogue("ai_models.yml", ()), resolver, rules, NativeRules())
    config = CredentialConfig(f"{provider.url}/{name}", **(AZURE if name == "azure" else {}))

    async def ask() -> None:
        check = KeyCheck(lambda: configuration, meter=ListeningMeter())
        try:
            await check.require_accepted(TENANT, name, secret, config)
        finally:
            await check.stop()

    asyncio.run(ask())


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_key_is_accepted_or_rejected_by_one_request_that_generates_nothing(name: str) -> None:
    with StandInProvider([GOOD.reveal()], BUILT_IN[name].key_header) as provider:
        asked(provider, name, GOOD)
        with pytest.raises(InvalidRequestError) as refused:
            asked(provider, name, BAD)
        assert [(one.method, one.path.rpartition("/")[2].partition("?")[0]) for one in provider.requests] == [
            ("GET", "models")
        ] * 2
    assert refused.value.code == ErrorCode.INVALID_CREDENTIAL
    assert BAD.reveal() not in refused.value.detail


@pytest.mark.parametrize("name", [name for name in BUILT_IN if BUILT_IN[name].models_are_public])
def test_where_anyone_may_list_models_a_chat_with_none_is_asked_for(name: str) -> None:
    with StandInProvider([GOOD.reveal()], BUILT_IN[name].key_header) as provider:
        asked(provider, name, GOOD)
        with pytest.raises(InvalidRequestError):
            asked(provider, name, BAD)
        assert {(one.method, one.path.rpartition("/")[2]) for one in provider.requests} == {("POST", "completions")}


SAYS = [
    pytest.param(Misbehaviour(Failure.STATUS, 403), None, id="a key limited to other routes"),
    pytest.param(Misbehaviour(Failure.STATUS, 429), ErrorCode.PROVIDER_RATE_LIMITED, id="a limit"),
    pytest.param(Misbehaviour(Failure.STATUS, 500), ErrorCode.PROVIDER_UNAVAILABLE, id="an error"),
    pytest.param(Misbehaviour(Failure.STATUS, 404), ErrorCode.PROVIDER_REFUSED, id="another address"),
    pytest.param(Misbehaviour(Failure.RESET), ErrorCode.PROVIDER_UNAVAILABLE, id="nothing"),
]


@pytest.mark.parametrize(("says", "code"), SAYS)
def test_an_answer_that_does_not_say_is_an_error_of_the_provider(says: Misbehaviour, code: str | None) -> None:
    with StandInProvider(accepted=[GOOD.reveal()]) as provider:
        provider.misbehave = says
        if code is None:
            asked(provider, "openai", GOOD)
            return
        with pytest.raises(ProviderError) as refused:
            asked(provider, "openai", GOOD)
        assert refused.value.code == code
