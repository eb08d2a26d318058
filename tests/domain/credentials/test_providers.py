"""The fields that a credential needs for each provider."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.providers import CredentialConfig, check
from domain.endpoints.rules import EndpointRules
from domain.errors import ErrorCode, InvalidRequestError
from tests.support.each import each
from tests.support.errors import raises

KEY = "sk-0123456789"
AZURE = {"endpoint": "https://res.openai.azure.com", "api_version": "2024-10-21", "deployment_name": "gpt-4o"}
RULES = EndpointRules.of([])


def errors(provider: str, key: str = KEY, **config: str) -> set[str]:
    try:
        check(BUILT_IN.named(provider), key, CredentialConfig(**config), RULES)
    except InvalidRequestError as refused:
        return {error.field for error in refused.fields}
    return set()


CASES = [
    *[pytest.param(name, {}, set(), id=f"{name} needs a key only") for name in BUILT_IN if name != "azure"],
    pytest.param("azure", AZURE, set(), id="azure with all four fields"),
    pytest.param("azure", {}, set(AZURE), id="azure names every field it misses"),
    *[
        pytest.param("azure", {k: v for k, v in AZURE.items() if k != left}, {left}, id=f"azure without {left}")
        for left in AZURE
    ],
    pytest.param("vllm", {"endpoint": "https://llm.example.com"}, set(), id="vllm with an endpoint of its own"),
    pytest.param("openai", {"endpoint": "https://eu.example.com/v1"}, set(), id="openai at another address"),
    pytest.param("openai", {"api_version": "2024-10-21"}, {"api_version"}, id="a field openai does not use"),
    pytest.param("vllm", {"deployment_name": "x"}, {"deployment_name"}, id="a field vllm does not use"),
    pytest.param("vllm", {"endpoint": "  "}, {"endpoint"}, id="a blank endpoint"),
    pytest.param("azure", AZURE | {"deployment_name": "o_series/x"}, {"deployment_name"}, id="a slash in a deployment"),
    pytest.param("azure", AZURE | {"deployment_name": ".."}, {"deployment_name"}, id="dots for a deployment"),
    pytest.param("azure", AZURE | {"api_version": "2024&x=1"}, {"api_version"}, id="a query inside the api version"),
]


@each(("provider", "config", "expected"), CASES)
def test_fields(provider: str, config: dict[str, str], expected: set[str]) -> None:
    assert errors(provider, **config) == expected


KEYS = [
    pytest.param("12345678", True, id="eight characters"),
    pytest.param("1234567", False, id="seven characters"),
    pytest.param("k" * 4096, True, id="4096 characters"),
    pytest.param("k" * 4097, False, id="4097 characters"),
    pytest.param("  sk-0123456789\n", True, id="white space around it is stripped"),
    pytest.param("        ", False, id="eight blanks"),
    pytest.param("sk-0123 456789", False, id="a space inside"),
    pytest.param("sk-0123\r\nX: 1", False, id="a header smuggled in"),
    pytest.param("sk-0123456\x00", False, id="a NUL"),
    pytest.param("sk-ключ-456789", False, id="letters outside ASCII"),
    pytest.param("sk-0123\u202e456789", False, id="a bidirectional override"),
]


@pytest.mark.parametrize(("key", "accepted"), KEYS)
def test_keys(key: str, accepted: bool) -> None:
    assert errors("openai", key) == (set() if accepted else {"api_key"})


def test_a_key_is_stripped_once_and_for_all() -> None:
    assert check(BUILT_IN.named("openai"), f" {KEY}\t", CredentialConfig(), RULES).secret.reveal() == KEY


@given(st.text(min_size=1), st.text(min_size=6))
def test_no_fault_repeats_what_was_sent(key: str, text: str) -> None:
    config = CredentialConfig(endpoint="§" + text, api_version="§" + text, deployment_name="§" + text)
    with raises(ErrorCode.INVALID_CREDENTIAL) as refused:
        check(BUILT_IN.named("azure"), "§" + key, config, RULES)
    assert "§" not in refused.value.detail


def test_an_unknown_provider_is_refused_with_the_known_ones() -> None:
    with raises(ErrorCode.UNKNOWN_PROVIDER) as refused:
        BUILT_IN.named("ореnai")
    assert "openai" in refused.value.detail
    assert "ореnai" not in refused.value.detail
