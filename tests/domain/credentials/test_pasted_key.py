"""Keys as people paste them: mistakes by name, and that no key is taken for one."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.pasted_key import MISTAKES, pasting_error, pasting_warning
from domain.credentials.providers import CredentialConfig, check, key_error
from domain.endpoints.rules import EndpointRules
from domain.errors import InvalidRequestError
from tests.support.each import each

PASTED = [
    ("quotes", '"sk-tenant-key-0123456789"'),
    ("quotes", "'sk-tenant-key-0123456789'"),
    ("quotes", "`sk-tenant-key-0123456789`"),
    ("quotes", '"sk-tenant-key-0123456789'),
    ("quotes", 'sk-tenant-key-0123456789"'),
    ("quotes", "'sk-tenant-key-0123456789"),
    ("quotes", "\u201csk-tenant-key-0123456789\u201d"),
    ("quotes", "\u201esk-tenant-key-0123456789\u201c"),
    ("quotes", "\u2018sk-tenant-key-0123456789\u2019"),
    ("quotes", "\u00absk-tenant-key-0123456789\u00bb"),
    ("quotes", "sk-tenant-key-0123456789\u201d"),
    ("assignment", "OPENAI_API_KEY=sk-tenant-key-0123456789"),
    ("assignment", "VLLM_API_KEY=my-key"),
    ("assignment", "AZURE_OPENAI_KEY = 0123456789abcdef"),
    ("assignment", "export OPENAI_API_KEY=sk-tenant-key-0123456789"),
    ("assignment", "export KEY=0123456789abcdef"),
    ("assignment", "ENV MISTRAL_API_KEY 0123456789abcdef"),
    ("assignment", "$env:OPENAI_API_KEY=0123456789abcdef"),
    ("assignment", "OPENAI_API_KEY: sk-tenant-key-0123456789"),
    ("assignment", "OPENAI_API_KEY="),
    ("assignment", "api_key=0123456789abcdef"),
    ("assignment", "x-api-key: 0123456789abcdef"),
    ("assignment", "Key1=sk-tenant-key-0123456789"),
    ("assignment", "NAME=0123456789abcdef"),
    ("assignment", "openai_api_key=abcdef0123456789"),
    ("assignment", "openai_api_key = abcdef0123456789"),
    ("assignment", "OPENAIKEY=abcdef0123456789"),
    ("assignment", "openaiKey=abcdef0123456789"),
    ("assignment", "openai_key_2=abcdef0123456789"),
    ("assignment", "openai.api_key=abcdef0123456789"),
    ("assignment", "spring.ai.openai.api-key=abcdef0123456789"),
    ("assignment", "--api-key=abcdef0123456789"),
    ("assignment", "--api-key abcdef0123456789"),
    ("assignment", "OPENAI_API_KEY:abcdef0123456789"),
    ("assignment", "api-key:abcdef0123456789"),
    ("assignment", "apikey:abcdef0123456789"),
    ("assignment", "X-API-Key:abcdef0123456789"),
    ("assignment", "HF_TOKEN:abcdef0123456789"),
    ("assignment", '{"api_key":"abcdef0123456789"}'),
    ("reference", "${OPENAI_API_KEY}"),
    ("reference", "${openai_api_key:-none}"),
    ("reference", "$OPENAI_API_KEY"),
    ("reference", "%OPENAI_API_KEY%"),
    ("reference", "$(cat openai-key)"),
    ("reference", "{{ openai_api_key }}"),
    ("placeholder", "<your-api-key>"),
    ("placeholder", "<YOUR API KEY>"),
    ("placeholder", "sk-<your-key>"),
    ("authorization", "Bearer sk-tenant-key-0123456789"),
    ("authorization", "bearer sk-tenant-key-0123456789"),
    ("authorization", "Authorization: Bearer sk-tenant-key-0123456789"),
    ("mask", "...xyz9"),
    ("mask", "\u2026xyz9"),
    ("mask", "sk-****3456"),
    ("mask", "sk-***"),
    ("mask", "****************"),
    ("mask", "\u2022\u2022\u2022\u2022\u2022\u20223456"),
    ("mask", "sk-proj-abc...xyz9"),
    ("mask", "sk-proj-abc\u2026"),
    ("mask", "[redacted]"),
    ("sealed", "enc:fernet:v1:gAAAAABmZm9v0123456789"),
    ("address", "https://llm.example.com/v1"),
    ("address", "http://tenant-vllm:8000"),
]
RULES = {mistake.name: mistake.rule for mistake in MISTAKES}


@each(("name", "pasted"), PASTED)
@each("provider", ["openai", "azure", "vllm"])
def test_what_is_not_a_key_is_named_with_the_fix_and_never_repeated(name: str, pasted: str, provider: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        check(BUILT_IN.named(provider), f" {pasted}\n", CredentialConfig(), EndpointRules())
    error = next(error for error in refused.value.fields if error.field == "api_key")
    assert error.rule == RULES[name]
    assert pasted not in refused.value.detail
    assert "0123456789" not in refused.value.detail


TAKEN = [
    *("EMPTY", "my-key", "shared-fallback-key", "regional-secret", "vllm-secret", "token-abc123", "=", "k"),
    *("sk-proj-a_b-C", "sk-ant-api03-a_b-C", "0123456789abcdef0123456789abcdef", "QUJDREVGR0g=", "QUJDREVGR0g=="),
    *("QUJD=REVG", "ABC_DEF=", "ABC_DEF==", "OPENAI/KEY+=", "a=b", "pa**word", "a...b", "$ecret", "a$HOME", "a<b>c"),
    *("sk-${HOME}-$1", "it's", 'a"b', "Bearer", "bearer-of-news", "exporter", "key", "x..", "eyJhbGciOi.eyJzdWIi.c2ln"),
    *("my-key==", "QUJDREVGkey=", "user:password", "key:0123", "0123456789:abcdef", "{braces}", "monkey:0123"),
]


@each("key", TAKEN)
def test_a_key_is_taken_as_it_is(key: str) -> None:
    assert key_error(BUILT_IN.named("vllm"), key) is None
    assert pasting_warning(key) is None


@given(
    st.text(string.ascii_letters + string.digits + "-_.+/", min_size=8, max_size=200), st.sampled_from(["", "=", "=="])
)
def test_no_key_in_the_letters_of_keys_is_taken_for_a_mistake(body: str, padding: str) -> None:
    if ".." not in body:
        assert pasting_error(f"k{body}{padding}") is None


@pytest.mark.parametrize("key", ["sk-proj-abc123...", "abc123...", "sk-proj-...", "sk-ant-0123456789..."])
def test_a_key_that_only_ends_in_dots_is_taken_with_a_warning(key: str) -> None:
    taken = check(BUILT_IN.named("openai"), key, CredentialConfig(), EndpointRules())
    assert taken.secret.reveal() == key
    (warning,) = taken.warnings
    assert warning.startswith("api_key: ends in three dots")
    assert key not in warning


@given(st.text(max_size=64))
def test_whatever_is_pasted_is_judged_and_not_repeated(text: str) -> None:
    error = pasting_error(f"\u00a7{text}\u00a7")
    assert error is None or "\u00a7" not in error


@pytest.mark.parametrize("key", ["YOUR_API_KEY", "your-api-key-here", "changeme", "undefined", "sk-xxxxxxxxxxxxxxxx"])
def test_what_templates_have_in_place_of_a_key_is_taken_with_a_warning(key):
    assert pasting_error(key) is None
    assert "placeholder" in (pasting_warning(key) or "")


@pytest.mark.parametrize("key", ["my-key", "EMPTY", "shared-fallback-key", "yours-truly-0123", "sk-xx-0123456789"])
def test_a_key_that_only_sounds_like_one_is_taken_in_silence(key):
    assert pasting_warning(key) is None
