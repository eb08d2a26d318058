"""JSON with one meaning."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.front.json_body import DEPTH_MAX, parse
from api.front.problems import HttpError

DEEPEST = b"[" * DEPTH_MAX + b"]" * DEPTH_MAX


@pytest.mark.parametrize(
    ("text", "error"),
    [
        pytest.param(b"{", "syntax", id="cut off"),
        pytest.param(b'{"a":1}x', "syntax", id="something after the end"),
        pytest.param(b"{'a':1}", "syntax", id="single quotes"),
        pytest.param(b'{"a":1,}', "syntax", id="a comma too many"),
        pytest.param(b'{"a":01}', "syntax", id="a leading zero"),
        pytest.param(b'"\n"', "syntax", id="a raw control character"),
        pytest.param(b"\xef\xbb\xbf{}", "byte order mark", id="a byte order mark"),
        pytest.param('{"a":"ä"}'.encode("latin-1"), "UTF-8", id="latin-1"),
        pytest.param("{}".encode("utf-16"), "UTF-8", id="utf-16"),
        pytest.param(b'"\xed\xa0\x80"', "UTF-8", id="an encoded surrogate"),
        pytest.param(b'{"a":1,"a":2}', "twice", id="a name twice"),
        pytest.param(b'{"a":1,"\\u0061":2}', "twice", id="a name twice, once escaped"),
        pytest.param(b"[NaN]", "NaN", id="NaN"),
        pytest.param(b"[-Infinity]", "NaN", id="minus infinity"),
        pytest.param(b"[1e400]", "range", id="a number that becomes infinite"),
        pytest.param(b"[18446744073709551616]", "64 bits", id="an integer of 65 bits"),
        pytest.param(b"[" + b"9" * 5000 + b"]", "64 bits", id="an integer of 5000 digits"),
        pytest.param(rb'{"a":"\ud800"}', "surrogate", id="half a pair in a value"),
        pytest.param(rb'{"\udc00":1}', "surrogate", id="half a pair in a name"),
        pytest.param(b"[" + DEEPEST + b"]", "levels", id="one level too deep"),
        pytest.param(b'{"a":' * 65 + b"1" + b"}" * 65, "levels", id="one object too deep"),
        pytest.param(b"[" * 100_000, "levels|syntax", id="a hundred thousand brackets"),
    ],
)
def test_what_has_no_single_meaning_is_refused(text, error):
    with pytest.raises(HttpError, match=error):
        parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param(b' {"a": [1, -2.5e3, null, true]} ', {"a": [1, -2500.0, None, True]}, id="plain"),
        pytest.param(rb'"\ud83d\ude00"', "😀", id="a whole surrogate pair"),
        pytest.param('"😀\u0000"'.replace("\x00", "\\u0000").encode(), "😀\x00", id="UTF-8 and an escaped NUL"),
        pytest.param(b"[18446744073709551615]", [2**64 - 1], id="the largest integer"),
        pytest.param(b"[-18446744073709551615]", [1 - 2**64], id="the smallest integer"),
        pytest.param(b'[{"a":1},{"a":2}]', [{"a": 1}, {"a": 2}], id="one name in two objects"),
    ],
)
def test_what_has_is_read(text, value):
    assert parse(text) == value


def test_the_deepest_nesting_allowed_is_read():
    assert json.dumps(parse(DEEPEST)).encode() == DEEPEST


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(text):
    with suppress(HttpError):
        json.dumps(parse(text), allow_nan=False, ensure_ascii=False).encode()


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(_VALUES)
def test_every_ordinary_value_is_read_as_it_was_written(value):
    assert parse(json.dumps(value).encode()) == value
