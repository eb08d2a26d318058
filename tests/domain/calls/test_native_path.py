"""Which paths may be put behind a provider's base path, and in which form."""

import posixpath
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.calls.native_path import normalised_path, normalised_query
from domain.errors import ErrorCode, InvalidRequestError
from tests.support.each import each
from tests.support.errors import raises

PASSED = [
    ("v1/chat/completions", "v1/chat/completions"),
    ("v1/models/gpt-4.1", "v1/models/gpt-4.1"),
    ("v1/models/gpt-4%2e1", "v1/models/gpt-4.1"),
    ("v1/models/ft:gpt-4o:acme::abc", "v1/models/ft:gpt-4o:acme::abc"),
    ("v1/models/meta-llama%2FLlama-3", "v1/models/meta-llama%2FLlama-3"),
    ("v1/models/meta-llama%2fLlama-3", "v1/models/meta-llama%2FLlama-3"),
    ("v1/files/", "v1/files/"),
    ("v1/files/a%20b", "v1/files/a%20b"),
    ("v1/files/a%3Fb%23c", "v1/files/a%3Fb%23c"),
    ("v1/files/100%25", "v1/files/100%25"),
    ("v1/files/...", "v1/files/..."),
    ("v1/files/.hidden", "v1/files/.hidden"),
    ("v1/a@b", "v1/a@b"),
]
REFUSED = [
    ("", "empty"),
    (".", "segments"),
    ("..", "segments"),
    ("../sysadmin", "segments"),
    ("v1/../../admin", "segments"),
    ("v1/./models", "segments"),
    ("v1/..", "segments"),
    ("v1/%2e%2e/admin", "segments"),
    ("v1/%2E./admin", "segments"),
    ("v1/.%2e", "segments"),
    ("v1/x%2f..%2f..%2fadmin", "segments"),
    ("%2e%2e%2fadmin", "segments"),
    ("v1//models", "segments"),
    ("/v1/models", "segments"),
    ("v1%2F%2Fmodels", "segments"),
    ("%2Fetc", "segments"),
    ("v1/..;/admin", "segments"),
    ("v1/..%3bx=1/admin", "segments"),
    ("v1/%20../admin", "segments"),
    ("https://evil.example.com/v1", "segments"),
    ("//evil.example.com/v1", "segments"),
    ("v1/%252e%252e/admin", "escape"),
    ("v1/%25252e", "escape"),
    ("v1/x%252fy", "escape"),
    ("v1\\..\\admin", "backslash"),
    ("v1/%5c..%5cadmin", "backslash"),
    ("v1/%5C%2e%2e", "backslash"),
    ("v1/a%00b", "backslash"),
    ("v1/a%0d%0aHost:%20evil", "backslash"),
    ("v1/%7f", "backslash"),
    ("v1/%c0%ae%c0%ae/admin", "backslash"),
    ("v1/%ef%bc%8e%ef%bc%8e", "backslash"),
    ("v1/\xe9", "ASCII"),
    ("v1/100%", "hexadecimal"),
    ("v1/%zz", "hexadecimal"),
    ("v1/%u002e%u002e", "hexadecimal"),
]


@pytest.mark.parametrize(("raw", "expected"), PASSED)
def test_a_path_passes_in_its_one_form(raw, expected):
    assert normalised_path(raw) == expected
    assert normalised_path(expected) == expected


@each(("raw", "reason"), REFUSED)
def test_a_path_that_could_lead_elsewhere_is_refused_and_not_repeated(raw, reason):
    with raises(ErrorCode.INVALID_PATH, match=reason) as caught:
        normalised_path(raw)
    assert len(raw) < 5 or raw not in caught.value.detail


NASTY = st.lists(
    st.sampled_from(
        [
            *(
                "..",
                ".",
                "/",
                "//",
                "\\",
                "%2e",
                "%2E",
                "%2f",
                "%2F",
                "%5c",
                "%25",
                "2e",
                "%252e",
                ";",
                "%3b",
                "?",
                "#",
            ),
            *("?", "#", "@", ":", "a", "v1", "%00", "%20", " ", "http:", "evil.com", "%c0%ae", "%", "\x7f", "é"),
        ]
    ),
    max_size=12,
).map("".join)


@given(st.one_of(NASTY, st.text(max_size=40)))
def test_whatever_is_given_stays_below_the_base_path_however_often_it_is_decoded(raw):
    base = "https://api.example.com/base/v1"
    try:
        path = normalised_path(raw)
    except InvalidRequestError:
        return
    url = urlsplit(f"{base}/{path}")
    assert (url.scheme, url.netloc, url.query, url.fragment) == ("https", "api.example.com", "", "")
    read = url.path
    for _ in range(4):
        assert "\\" not in read
        resolved = posixpath.normpath(read)
        assert resolved.startswith("/base/v1/")
        assert len(resolved.split("/")) == len(read.rstrip("/").split("/")), "no segment was swallowed"
        read = unquote(read)
    assert normalised_path(path) == path


QUERIES = [
    ("", "", ""),
    ("limit=2&after=x", "limit=2&after=x", ""),
    ("api-version=2020&limit=2", "limit=2", "api-version"),
    ("API-Version=2020", "", "api-version"),
    ("%61pi-version=2020&a=1", "a=1", "api-version"),
    ("api-key=k&a=1&subscription-key=s&access_token=t&api_key=u", "a=1", ""),
]


@pytest.mark.parametrize(("raw", "expected", "dropped"), QUERIES)
def test_a_query_passes_without_what_others_decide(raw, expected, dropped):
    assert normalised_query(raw, dropped) == expected


@pytest.mark.parametrize("raw", ["a&" * 256, "a;" * 256, "a" * 8193, "a=b c", "a=\x00", "a=#x", "a=\xe9", "a\r\nb"])
def test_a_query_that_is_none_is_refused(raw):
    with raises(ErrorCode.INVALID_PATH):
        normalised_query(raw)
