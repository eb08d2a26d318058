"""Keys that no stored text may contain: keys of well-known shapes and given secrets, and nothing that looks alike."""

import base64
import json
import string
from collections.abc import Callable, Mapping
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.credentials.key_shapes import SECRET_MIN, SHAPES, holds_key, masked
from domain.credentials.secret import Secret
from tests.support.each import each

DIGITS = "a1B2c3D4e5F6g7H8i9J0" * 6

KEYS = {
    "OpenAI, DeepSeek and many more": [
        f"sk-{DIGITS[:48]}",
        f"sk-{DIGITS[:12]}",
        "sk-team-blue-0a1b2c3d4e5f",
        f"sk-{'q' * 32}",
    ],
    "OpenAI, of a project or an administrator": [
        f"sk-proj-{DIGITS[:14]}",
        f"sk-proj-{'aB3_-' * 20}",
        f"sk-svcacct-{'x_9-' * 12}",
        f"sk-admin-{DIGITS[:40]}",
    ],
    "Anthropic and OpenRouter": [
        f"sk-ant-api03-{'aB3-_' * 18}AA",
        f"sk-ant-admin01-{DIGITS[:40]}",
        f"sk-or-v1-{'0a' * 32}",
    ],
    "KeyLedger": [f"kl_{DIGITS[:43]}", f"klk_{DIGITS[:43]}"],
    "Groq": [f"gsk_{DIGITS[:52]}"],
    "Hugging Face": [f"hf_{DIGITS[:34]}"],
    "Replicate": [f"r8_{DIGITS[:37]}"],
    "Perplexity and xAI": [f"pplx-{DIGITS[:48]}", f"xai-{DIGITS[:80]}"],
    "NVIDIA": [f"nvapi-{DIGITS[:64]}"],
    "Google": [f"AIza{DIGITS[:35]}"],
    "GitHub": [f"{kind}_{DIGITS[:36]}" for kind in ("ghp", "gho", "ghu", "ghs", "ghr")] + [f"github_pat_{DIGITS[:82]}"],
    "GitLab": [f"glpat-{DIGITS[:20]}"],
    "Slack": [f"xoxb-{'1' * 12}-{'2' * 12}-{DIGITS[:24]}", f"xoxp-{'1' * 12}-{DIGITS[:24]}"],
    "Stripe": [f"sk_live_{DIGITS[:24]}", f"rk_test_{DIGITS[:24]}"],
    "AWS": ["AKIAABCDEFGHIJKLMN27", "ASIA234567ABCDEFGHIJ"],
    "JSON Web Token": [f"eyJ{DIGITS[:20]}.eyJ{DIGITS[:40]}.{DIGITS[:43]}"],
    "sealed secret": [f"enc:fernet:v1:{DIGITS[:40]}", f"gAAAAA{DIGITS[:94]}=="],
    "encryption key": [f"{DIGITS[:43]}="],
    "signing key": [f"PRIVATE+KEY+log.example+0a1b2c3d+{DIGITS[:44]}", "-----BEGIN EC PRIVATE KEY-----"],
    "authorization": [f"Bearer {DIGITS[:20]}", f"bearer {'x.y-' * 4}{DIGITS[:12]}"],
    "password in a URL": ["postgresql://keyledger:hunter2@db.example.com/log", "redis://:hunter2@cache:6379"],
}

IN_A_TEXT = [
    pytest.param("{}", id="alone"),
    pytest.param("rotated {} after the incident", id="in a sentence"),
    pytest.param("key={}", id="as a value"),
    pytest.param('"{}",', id="quoted"),
    pytest.param("({})", id="in brackets"),
    pytest.param("https://llm.example.com/v1/{}", id="in a path"),
    pytest.param("team_{}", id="behind an underscore"),
]


def test_every_shape_is_tried() -> None:
    assert set(KEYS) == set(SHAPES)


@each("text", IN_A_TEXT)
@each("key", [pytest.param(key, id=f"{kind} {at}") for kind, keys in KEYS.items() for at, key in enumerate(keys)])
def test_the_shape_of_a_key_is_known_and_only_its_mask_is_kept(key: str, text: str) -> None:
    whole = text.format(key)
    assert holds_key(whole)
    kept = masked(whole)
    assert not holds_key(kept)
    assert key[:-4] not in kept


ORDINARY = [
    "sk-",
    "sk-proj-",
    "sk-SK",
    "sk-proj-migration-of-the-city-2026",
    "sk-migration-of-the-database-to-postgresql-18-on-2026-11-27",
    "risk-assessment-2026-for-the-city",
    "task-0a1b2c3d4e5f6a7b8c9d",
    "klk_",
    "kl_a-short-name",
    "hf_models_for_the_libraries_of_the_city",
    "gsk_",
    "eyJ is how a token begins",
    "enc:fernet:v1: is a prefix",
    "Bearer",
    "the bearer of ticket 4711 asked for it",
    "Bearer authentication is rolled out in week 48",
    "AKIA",
    "Asiatische Zweigstelle",
    "7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "0123456789abcdef" * 4,
    "k0123456789",
    "f0123456789abcdef",
    "sha256:" + "0a" * 32,
    "built from sha256-" + "0aB" * 14 + "1=",
    "2026-11-27T12:00:00+00:00",
    "req-2026-11-27.0001",
    "01JDQ4Z8Y3VXN6W2K5T7R9M1BC",
    "...xyz9",
    "/api/v1/sysadmin/tenants/{tenant_id}/credentials/{provider}",
    "https://llm.example.com:8443/v1?model=gpt-4o",
    "nyckeln byttes på begäran av Åsa",
    "100 % of calls, see C:\\logs\\2026",
    "",
]


@each("text", ORDINARY)
def test_ordinary_texts_are_kept_as_they_came(text: str) -> None:
    assert masked(text) == text


@given(st.uuids().map(str) | st.text("0123456789abcdef-", max_size=200))
def test_hexadecimal_digits_are_never_taken_for_a_key(text: str) -> None:
    assert masked(text) == text


_PRINTABLE = string.digits + string.ascii_letters + string.punctuation
SECRETS = st.text(_PRINTABLE, min_size=SECRET_MIN, max_size=60)

WRITTEN: Mapping[str, Callable[[str], str]] = {
    "as it is": str,
    "in upper case": str.upper,
    "in lower case": str.lower,
    "percent-encoded": lambda key: quote(key, safe=""),
    "percent-encoded, every byte": lambda key: "".join(f"%{ord(one):02X}" for one in key),
    "percent-encoded twice": lambda key: quote(quote(key, safe=""), safe=""),
    "as JSON": lambda key: json.dumps(key)[1:-1],
    "as JSON, every character": lambda key: "".join(f"\\u{ord(one):04x}" for one in key),
    "in base64": lambda key: base64.b64encode(key.encode()).decode(),
    "in url-safe base64": lambda key: base64.urlsafe_b64encode(key.encode()).decode().rstrip("="),
    "in base64, with a name before it": lambda key: base64.b64encode(f"user:{key}".encode()).decode(),
    "in base64 that begins earlier": lambda key: "abc" + base64.b64encode(key.encode()).decode(),
}
AROUND = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FF, exclude_characters="%\\"), max_size=20)


@pytest.mark.parametrize("writing", WRITTEN)
@given(secret=SECRETS, before=AROUND, after=AROUND)
def test_a_given_secret_is_found_however_it_is_written_and_wherever(
    writing: str, secret: str, before: str, after: str
) -> None:
    text = f"{before} {WRITTEN[writing](secret)} {after}"
    assert holds_key(text, [Secret("another-secret"), Secret(secret)])
    kept = masked(text, [Secret(secret)])
    assert not holds_key(kept, [Secret(secret)])


@given(secret=SECRETS, at=st.integers(0, 59), text=st.text(_PRINTABLE + " ", max_size=80))
def test_a_part_of_a_secret_is_no_secret(secret: str, at: int, text: str) -> None:
    if secret.lower() not in text.lower() and not holds_key(text):
        part = secret[: min(at, len(secret) - 1)]
        assert not holds_key(part, [Secret(secret)]) or holds_key(part)


@pytest.mark.parametrize("text", ["half \\ud800 a character", "half \ud800 a character"])
def test_half_a_character_is_text_like_any_other(text: str) -> None:
    assert not holds_key(text, [Secret("sk-0123456789")])
    assert holds_key(f"{text} sk-0123456789", [Secret("sk-0123456789")])


@pytest.mark.parametrize("short", ["EMPTY", "my-key", "1234567"])
def test_a_key_of_fewer_than_eight_characters_is_no_secret(short: str) -> None:
    text = f"set to {short} as in the manual"
    assert masked(text, [Secret(short)]) == text


def test_one_word_is_masked_and_the_others_stay() -> None:
    assert masked("leaked sk-proj-Zq81xkLmN0pQ77 on 2026-11-27") == "leaked ...pQ77 on 2026-11-27"
    assert masked("sent Bearer a1b2c3d4e5f6a7b8 by mail") == "sent ...a7b8 by mail"
