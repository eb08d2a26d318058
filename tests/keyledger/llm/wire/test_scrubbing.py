"""The key is taken out of an answer wherever the network cuts it."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyledger.llm.wire.scrubbing import REDACTED, Scrubber

KEY = 'sk-a/b"c\\d&e+f=='
FORMS = [
    pytest.param(KEY, id="as it is"),
    pytest.param(json.dumps(KEY)[1:-1], id="inside JSON"),
    pytest.param(quote(KEY, safe=""), id="inside a URL"),
    pytest.param(base64.b64encode(KEY.encode()).decode(), id="in base64"),
    pytest.param("sk-a/b&quot;c\\d&amp;e+f==", id="inside HTML"),
]


def scrubbed(pieces: list[bytes], key: str = KEY) -> list[bytes]:
    scrubber = Scrubber(key)
    return [*(scrubber.feed(piece) for piece in pieces), scrubber.finish()]


@pytest.mark.parametrize("form", FORMS)
def test_every_way_of_cutting_it_in_two_is_scrubbed(form):
    text = f"before {form} after".encode()
    for cut in range(len(text) + 1):
        out = b"".join(scrubbed([text[:cut], text[cut:]]))
        assert form.encode() not in out
        assert REDACTED in out
        assert out.startswith(b"before ")
        assert out.rstrip(b"=").endswith(b" after")


def test_every_way_of_cutting_it_into_bytes_is_scrubbed():
    text = f"{KEY}{KEY}x{KEY}".encode()
    out = b"".join(scrubbed([bytes([byte]) for byte in text]))
    assert out == REDACTED * 2 + b"x" + REDACTED


@given(st.lists(st.binary(max_size=12)))
def test_an_answer_without_the_key_is_unchanged(pieces):
    assert b"".join(scrubbed(pieces, "sk-never-in-there")) == b"".join(pieces)


@given(st.text("ab", min_size=8, max_size=12), st.lists(st.text("ab", max_size=9)))
def test_no_answer_holds_a_key_whatever_repeats_in_it(key, pieces):
    out = b"".join(scrubbed([piece.encode() for piece in pieces], key))
    assert key.encode() not in out


def _escaped(key: str, which: set[int], *, upper: bool) -> str:
    """Return the key as JSON might write it, with the characters at these places as escapes."""
    digits = "{:04X}" if upper else "{:04x}"
    usual = [json.dumps(character)[1:-1] for character in key]
    return "".join("\\u" + digits.format(ord(c)) if at in which else usual[at] for at, c in enumerate(key))


ESCAPED = [
    *({at} for at in range(len(KEY))),
    set(range(len(KEY))),
    set(range(0, len(KEY), 2)),
]


@pytest.mark.parametrize("upper", [False, True], ids=["lower case", "upper case"])
@pytest.mark.parametrize("which", ESCAPED, ids=str)
def test_a_key_whose_characters_are_escaped_is_scrubbed_wherever_it_is_cut(which, upper):
    text = f'{{"a": "before {_escaped(KEY, which, upper=upper)} after"}}'
    assert KEY in json.loads(text)["a"]
    for cut in range(len(text) + 1):
        out = b"".join(scrubbed([text[:cut].encode(), text[cut:].encode()]))
        assert json.loads(out) == {"a": "before [redacted] after"}
    out = b"".join(scrubbed([bytes([byte]) for byte in text.encode()]))
    assert json.loads(out) == {"a": "before [redacted] after"}


@given(st.text('sk-\\/"u0073\u00e9\u4e2d', max_size=30), st.booleans(), st.integers(0, 60))
def test_json_without_the_key_says_the_same_wherever_it_is_cut(said, ascii_only, cut):
    text = json.dumps({"a": said}, ensure_ascii=ascii_only).replace("s", "\\u0073").encode()
    out = b"".join(scrubbed([text[:cut], text[cut:]], "sk-/u0073-never"))
    assert json.loads(out) == json.loads(text)


def test_nothing_is_held_back_but_a_beginning_of_the_key():
    scrubber = Scrubber("sk-secret-0123")
    assert scrubber.feed(b"data: hello\n\n") == b"data: hello\n\n"
    assert scrubber.feed(b"data: sk-sec") == b"data: "
    assert scrubber.feed(b"ond\n\n") == b"sk-second\n\n"


@pytest.mark.parametrize("key", ["k", "EMPTY", "my-key", "seven77"])
def test_a_key_that_is_too_short_to_be_a_secret_changes_no_answer(key):
    text = f'{{"a": "my-key, EMPTY, seven77 \\u006b k", "b": "{base64.b64encode(key.encode()).decode()}"}}'.encode()
    assert scrubbed([text[:7], text[7:]], key) == [text[:7], text[7:], b""]
    assert not Scrubber(key).found_in(text)
