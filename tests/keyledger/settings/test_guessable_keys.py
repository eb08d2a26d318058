"""Keys that are guessed early are recognised, and random ones are not taken for them."""

import random
import string
from collections.abc import Callable
from uuid import UUID

import pytest

from keyledger.settings.errors import SettingsError
from keyledger.settings.guessable_keys import LENGTH_GOOD, why_guessable
from keyledger.settings.settings import load
from tests.support.each import each

SHORT = ["password", "12345678", "aaaaaaaa", "super-secret", "changeme", "X9k2Lm4Pq7Rt1Vz8Bn3"]
COMMON = [
    "password1234567890123",
    "PasswordPassword2026!",
    "P@ssw0rd-P@ssw0rd-P@ssw0rd",
    "changeme-changeme-changeme",
    "CHANGE_ME_CHANGE_ME_PLEASE",
    "change-this-in-production",
    "super-secret-super-secret",
    "SuperSecretPassword2025!",
    "my-super-secret-api-key",
    "your-super-secret-api-key-here",
    "keyledger-super-api-key-2026",
    "supersecretadminkey2026!!",
    "admin1234567890admin1234",
    "letmein-letmein-letmein",
    "secret-2019-secret-2020-secret",
    "test-test-test-test-test-1",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "abababababababababababab",
    "x7Qp-x7Qp-x7Qp-x7Qp-x7Qp-",
    "12345678901234567890",
    "00000000000000000001",
    "98765432109876543210",
    "abcdefghijklmnopqrstuvwxyz",
    "ZYXWVUTSRQPONMLKJIHGFEDCBA",
    "0123456789abcdef0123456789abcdef",
    "qwertyuiopasdfghjklzxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn",
    "1q2w3e4r5t6y7u8i9o0p",
    "qwerty-qwerty-qwerty-123",
    "drowssap-terces-repus-ym",
]
LETTERS = string.ascii_letters + string.digits
KINDS: dict[str, Callable[[random.Random], str]] = {
    "20 letters and digits": lambda chance: "".join(chance.choices(LETTERS, k=LENGTH_GOOD)),
    "20 small letters": lambda chance: "".join(chance.choices(string.ascii_lowercase, k=LENGTH_GOOD)),
    "24 digits": lambda chance: "".join(chance.choices(string.digits, k=24)),
    "20 hexadecimal digits": lambda chance: "".join(chance.choices("0123456789abcdef", k=LENGTH_GOOD)),
    "a UUID": lambda chance: str(UUID(int=chance.getrandbits(128), version=4)),
    "a prefix": lambda chance: "sk-super-" + "".join(chance.choices(LETTERS, k=16)),
}


@pytest.mark.parametrize("key", SHORT)
def test_a_short_key_is_guessable(key: str) -> None:
    assert why_guessable(key) == "has fewer than 20 characters"


@each("key", COMMON)
def test_a_key_of_common_parts_is_guessable_in_any_letter_case(key: str) -> None:
    assert len(key) >= LENGTH_GOOD
    assert [why_guessable(written) is not None for written in (key, key.upper(), key.title(), key.swapcase())] == [
        True
    ] * 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_random_key_is_not_guessable(kind: str) -> None:
    chance = random.Random(4711)
    made = [KINDS[kind](chance) for _ in range(500)]
    assert {key: why for key in made if (why := why_guessable(key))} == {}


@pytest.mark.parametrize("key", ["correct-horse-battery-staple-mountain", "a-super-key-of-some-other-width"])
def test_a_key_of_other_words_is_not_called_guessable(key: str) -> None:
    assert why_guessable(key) is None


@pytest.mark.parametrize("name", ["SUPER_API_KEY", "INTRIC_SUPER_API_KEY"])
@pytest.mark.parametrize("key", ["super-secret", *COMMON[:3]])
def test_a_guessable_super_key_is_a_warning_and_an_error_where_that_is_wanted(key: str, name: str) -> None:
    (warning,) = [text for text in load({name: key}, None).warnings if text.startswith("SUPER_API_KEY")]
    assert "can be guessed" in warning and "openssl rand" in warning and key not in warning
    with pytest.raises(SettingsError) as refused:
        load({name: key, "SUPER_API_KEY_STRICT": "true"}, None)
    assert refused.value.lines == (warning,)


def test_a_random_super_key_starts_strictly_and_silently() -> None:
    settings = load({"SUPER_API_KEY": "Xk3vR8mQ2pT7wY4nB6cF", "SUPER_API_KEY_STRICT": "true"}, None)
    assert not [text for text in settings.warnings if text.startswith("SUPER_API_KEY")]


@pytest.mark.parametrize(
    ("given", "attempts", "seconds"),
    [
        pytest.param({}, 20, 60, id="by default"),
        pytest.param({"AUTH_LOCKOUT_ATTEMPTS": "0"}, 0, 60, id="off"),
        pytest.param({"AUTH_LOCKOUT_ATTEMPTS": "100", "AUTH_LOCKOUT_SECONDS": "3600"}, 100, 3600, id="at the limits"),
    ],
)
def test_the_lockout_is_a_setting(given: dict[str, str], attempts: int, seconds: int) -> None:
    lockout = load(given, None).lockout
    assert (lockout.attempts, lockout.seconds) == (attempts, seconds)


@pytest.mark.parametrize("value", ["-1", "101", "many", "1.5"])
def test_a_lockout_that_is_no_number_in_range_is_an_error(value: str) -> None:
    with pytest.raises(SettingsError, match="AUTH_LOCKOUT_ATTEMPTS: must be a whole number from 0 to 100"):
        load({"AUTH_LOCKOUT_ATTEMPTS": value}, None)
