"""Names that a caller made up are said back when they help, and never when they could be a key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.text.unknown_names import unknown_name

KNOWN = ("api_key", "endpoint", "api_version", "deployment_name")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        pytest.param("apikey", "api_key", id="a missing underscore"),
        pytest.param("apiKey", "api_key", id="another convention"),
        pytest.param("API_KEY", "api_key", id="another letter case"),
        pytest.param("api-key", "api_key", id="a hyphen"),
        pytest.param("endpiont", "endpoint", id="two letters changed"),
        pytest.param("deployment", "deployment_name", id="a part"),
        pytest.param("colour", None, id="something else"),
        pytest.param("v2", None, id="with a digit"),
    ],
)
def test_a_plain_name_is_said_back_with_what_was_meant(name, meant):
    error = unknown_name(name, "field", KNOWN, "known fields: ...")
    hint = f"did you mean {meant}? " if meant else ""
    assert (error.field, error.rule) == (name, f"is not accepted; {hint}known fields: ...")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("sk-abcdefgh", id="a prefix"),
        pytest.param("SK_LIVE_ABCDEFGH", id="a prefix in capitals"),
        pytest.param("klk_abcdefghijk", id="one of our prefixes"),
        pytest.param("AIzaSyAbCdEf", id="a prefix without a hyphen"),
        pytest.param("a0123456789b0123456789", id="long, with digits"),
        pytest.param("aB3dE6gH9jK2", id="digits and both letter cases"),
        pytest.param("x" * 42, id="too long"),
        pytest.param("api key", id="a blank"),
        pytest.param("nyckel\N{LATIN SMALL LETTER E WITH ACUTE}", id="outside ASCII"),
        pytest.param("key\n", id="a line end"),
        pytest.param("7up", id="a digit first"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_could_be_a_key_or_is_no_identifier_is_called_unknown(name):
    error = unknown_name(name, "field", KNOWN, "known fields: ...")
    assert (error.field, error.rule) == ("an unknown field", "is not accepted; known fields: ...")


@given(st.sampled_from(["sk-", "sk-proj-", "klk_", "gsk_", "xai-", "ghp_"]), st.text(min_size=1, max_size=60))
def test_no_key_with_a_prefix_is_ever_repeated(prefix, rest):
    error = unknown_name(prefix + rest, "field", KNOWN, "")
    assert error.field == "an unknown field"


@given(st.from_regex(r"[A-Za-z0-9_-]{20,64}", fullmatch=True).filter(lambda key: any(c.isdigit() for c in key)))
def test_no_long_text_with_digits_is_ever_repeated(key):
    error = unknown_name(key, "field", KNOWN, "")
    assert error.field == "an unknown field"
