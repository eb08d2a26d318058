"""The key is removed wherever the network splits a body, and how a body leaves depends on no key."""

import base64
import html
import json
from functools import partial
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyledger.llm.wire.key_forms import KeyForms
from keyledger.llm.wire.scrubbing import HOLD, REDACTED, STEP, Scrubber, redacted
from tests.support.each import each

KEY = 'sk-a/b"c\\d&e+f=='
USUAL = "sk-proj-Qx7_vT3-mLw9Za4Rk2YbN8uCe"
EVENTS, JSON = "text/event-stream", "application/json"


def scrubbed(pieces: list[bytes], key: str = KEY, media_type: str = JSON) -> list[bytes]:
    scrubber = Scrubber(KeyForms(key), media_type)
    return [*(scrubber.feed(piece) for piece in pieces), scrubber.finish()]


def each_as(text: str, form: str) -> str:
    """Return the text with each character in this form: `\\u{:04x}`."""
    return "".join(form.format(ord(character)) for character in text)


def in_base64(text: str, *, safe: bool = False) -> str:
    return (base64.urlsafe_b64encode if safe else base64.b64encode)(text.encode()).decode()


def forms_of(key: str) -> dict[str, str]:
    """The forms that are looked for, by name."""
    in_json = partial(json.dumps, ensure_ascii=True)
    return {
        "as it is": key,
        "lower case": key.lower(),
        "upper case": key.upper(),
        "JSON": in_json(key)[1:-1],
        "JSON in JSON": in_json(in_json(key))[3:-3],
        "JSON, the first escaped": f"\\u{ord(key[0]):04x}{in_json(key[1:])[1:-1]}",
        "JSON, the last escaped": f"{in_json(key[:-1])[1:-1]}\\u{ord(key[-1]):04X}",
        "JSON, all escaped": each_as(key, "\\u{:04x}"),
        "JSON, all escaped, in upper case": each_as(key, "\\u{:04X}"),
        "JSON, all escaped, in JSON": each_as(key, "\\\\u{:04x}"),
        "JSON, all escaped, three deep": each_as(key, "\\\\\\\\u{:04x}"),
        "slashes escaped": in_json(key)[1:-1].replace("/", "\\/"),
        "JavaScript": each_as(key, "\\x{:02x}"),
        "HTML": html.escape(key),
        "HTML, decimal": each_as(key, "&#{};"),
        "HTML, decimal without semicolons": each_as(key[:-1], "&#{:05d}") + key[-1],
        "HTML, hexadecimal": each_as(key, "&#x{:x};"),
        "HTML, hexadecimal with zeros": each_as(key, "&#X{:07X};"),
        "HTML, named": html.escape(key).replace("-", "&#45;").replace("/", "&sol;").replace("_", "&lowbar;"),
        "HTML in HTML": html.escape(each_as(key, "&#{};")),
        "HTML in JSON": each_as(key, "\\u0026#{};"),
        "URL": quote(key, safe=""),
        "URL, all escaped": each_as(key, "%{:02x}"),
        "URL, all escaped, in upper case": each_as(key, "%{:02X}"),
        "URL in a URL": each_as(key, "%25{:02x}"),
        "URL in a URL in a URL": each_as(key, "%2525{:02x}"),
        "JSON in a URL": each_as(key, "%5Cu{:04x}"),
        "URL in JSON": each_as(key, "\\u0025{:02x}"),
        **{f"base64 at {at}": in_base64("x" * at + key) for at in range(6)},
        **{f"base64 before {at}": in_base64(key + "x" * at) for at in range(3)},
        "base64 of a header": in_base64(f"Bearer {key}"),
        "base64 of basic auth": in_base64(f"user:{key}"),
        "base64 of basic auth, the other way": in_base64(f"{key}:"),
        "base64 for URLs": in_base64(f"a{key}", safe=True),
        "base64 in a URL": quote(in_base64(key), safe=""),
        "base64 in JSON": in_base64(f"??{key}>>").replace("/", "\\/"),
        "base64, escaped": each_as(in_base64(key), "\\u{:04x}"),
    }


CASES = [
    pytest.param(key, form, id=f"{name} ({key[:4]})") for key in (KEY, USUAL) for name, form in forms_of(key).items()
]


@each(("key", "form"), CASES)
def test_each_form_is_removed_wherever_it_is_cut(key, form):
    text = f"before {form} after".encode()
    out = redacted(text, KeyForms(key))
    assert REDACTED in out
    assert form.encode() not in out
    assert (out.startswith(b"before "), out.endswith(b" after")) == (True, True)
    for media_type in (JSON, EVENTS):
        for cut in range(0, len(text) + 1, 5):
            assert b"".join(scrubbed([text[:cut], text[cut:]], key, media_type)) == out
        assert b"".join(scrubbed([bytes([byte]) for byte in text], key, media_type)) == out


@each(("key", "form"), CASES)
def test_an_odd_byte_in_a_body_switches_nothing_off(key, form):
    forms = KeyForms(key)
    alone = redacted(form.encode(), forms)
    for odd in (b"\xff", b"\x00", b"\\", b"%", b"&", b"\\u00", b"%2", b"&#", b"\\" * 99, b"\xf0\x9f", b"\x1f\x8b"):
        assert redacted(odd + b" " + form.encode() + b" " + odd, forms) == odd + b" " + alone + b" " + odd


@each("key", [KEY, USUAL, "sk-" + "k7" * 2046], ids=["odd", "usual", "longest"])
@each("spelling", ["{}", "\\u{:04x}", "%{:02x}", "&#{};"])
@each("media_type", [JSON, EVENTS])
def test_a_key_anywhere_in_a_long_body_is_removed(key, spelling, media_type):
    form = key if spelling == "{}" else each_as(key, spelling)
    for ahead in (0, 1, HOLD - 1, HOLD, STEP, HOLD + STEP - len(form) // 2, HOLD + STEP + 1, 3 * STEP):
        text = f"{'x' * ahead}{form}{'y' * 3 * STEP}".encode()
        expected = b"x" * ahead + REDACTED + b"y" * 3 * STEP
        for size in (4096, 30_011, len(text)):
            pieces = [text[at : at + size] for at in range(0, len(text), size)]
            assert b"".join(scrubbed(pieces, key, media_type)) == expected


def test_what_base64_shares_with_its_neighbours_is_removed_too():
    for before in range(4):
        for after in range(4):
            text = in_base64("?" * before + USUAL + "?" * after).encode()
            first = before * 8 // 6
            last = -(-(before + len(USUAL)) * 8 // 6)
            assert redacted(text, KeyForms(USUAL)) == text[:first] + REDACTED + text[last:]


@pytest.mark.parametrize("key", [USUAL, USUAL[1:], USUAL[2:]])
@pytest.mark.parametrize("before", range(3))
def test_of_keys_that_follow_each_other_in_base64_each_is_removed(key, before):
    text = in_base64("?" * before + 3 * key + "??").encode()
    first, last = before * 8 // 6, -(-(before + 3 * len(key)) * 8 // 6)
    assert redacted(text, KeyForms(key)) == text[:first] + 3 * REDACTED + text[last:]


ALPHABET = st.sampled_from(
    [
        "a",
        "b",
        "c",
        "\\",
        "\\\\",
        "\\u0061",
        "\\\\u0062",
        "%61",
        "%2562",
        "&#97;",
        "&amp;#98;",
        "&",
        "%",
        "\n",
        "x",
        "\xe9",
    ]
)
TEXTS = st.lists(ALPHABET, max_size=60).map(lambda parts: "".join(parts).encode())


@given(st.text("ab", min_size=8, max_size=10), TEXTS, st.lists(st.integers(0, 200), max_size=8))
def test_however_a_body_is_split_the_same_comes_out(key, text, cuts):
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[begin:end] for begin, end in pairwise(places)]
    for media_type in (JSON, EVENTS):
        assert b"".join(scrubbed(pieces, key, media_type)) == redacted(text, KeyForms(key))
    assert key.encode() not in redacted(text, KeyForms(key)).lower()


@pytest.mark.parametrize("media_type", [JSON, EVENTS])
@given(st.data())
@settings(max_examples=settings().max_examples // 5)
def test_however_a_long_body_is_split_the_same_comes_out(media_type, data):
    around = st.sampled_from([b"\\", b"%", b"&", b"a", b"\\u0061", b"%61", b"&#97;", b"%2561", b"b" * 700, b"\\" * 9])
    key = "aabaabaa"
    forms = st.sampled_from([b"aabaabaa", b"%61aba\\u0061baa", b"aab&#97;abaa", base64.b64encode(b"xx" + key.encode())])
    filling = st.sampled_from([0, HOLD - 900, HOLD, STEP, HOLD + STEP - 20])
    text = b"".join(
        b"".join(data.draw(st.lists(around, max_size=6))) + data.draw(forms) + b"-" * data.draw(filling)
        for _ in range(4)
    )
    size = data.draw(st.integers(500, 70_000))
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert b"".join(scrubbed(pieces, key, media_type)) == redacted(text, KeyForms(key))


@given(st.lists(st.binary(max_size=400), max_size=40), st.sampled_from([JSON, EVENTS, "audio/mpeg", ""]))
def test_a_body_without_the_key_is_unchanged(pieces, media_type):
    assert b"".join(scrubbed(pieces, "sk-never-in-there", media_type)) == b"".join(pieces)


@given(
    st.lists(st.sampled_from([b"sk-first-012", b"sk-second-01", b"\\u0073k-", b"%73", b"\n", b"c2st", b"x" * 30_000])),
    st.sampled_from([JSON, EVENTS]),
)
def test_the_pieces_are_the_same_for_every_key(pieces, media_type):
    keys = ("sk-first-0123456789", "sk-second-012345-of-another-length", "short")
    one, another, third = (scrubbed(pieces, key, media_type) for key in keys)
    assert one == another == third


def test_of_lines_each_leaves_at_its_end():
    scrubber = Scrubber(KeyForms("sk-secret-0123"), "text/event-stream; charset=utf-8")
    assert scrubber.feed(b"data: hello\n\n") == b"data: hello\n\n"
    assert scrubber.feed(b"data: sk-sec") == b""
    assert scrubber.feed(b"ond\r") == b"data: sk-second\r"
    assert scrubber.feed(b"\n\r\ndata: [DO") == b"\n\r\n"
    assert scrubber.feed(b"x" * (HOLD + STEP)) == b"data: [DO" + b"x" * STEP
    assert scrubber.finish() == b"x" * HOLD


@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "audio/mpeg", "text/event-streams", ""])
def test_of_other_bodies_the_same_amount_is_held_back(media_type):
    scrubber = Scrubber(KeyForms(USUAL), media_type)
    assert scrubber.feed(b"\n" * (HOLD + STEP - 1)) == b""
    assert len(scrubber.feed(b"\n")) == STEP
    assert len(scrubber.finish()) == HOLD


@pytest.mark.parametrize(
    "media_type", ["application/x-ndjson", "Application/JSONL; charset=utf-8", "application/jsonl"]
)
def test_json_lines_leave_at_their_ends(media_type):
    assert Scrubber(KeyForms(USUAL), media_type).feed(b'{"a": 1}\n{"b"') == b'{"a": 1}\n'


@pytest.mark.parametrize("key", ["k", "EMPTY", "my-key", "seven77"])
def test_a_key_that_is_too_short_to_be_a_secret_changes_no_body(key):
    text = f'{{"a": "my-key, EMPTY, seven77 \\u006b k", "b": "{in_base64(key)}"}}'.encode()
    assert b"".join(scrubbed([text[:7], text[7:]], key)) == text
    assert not KeyForms(key).found_in(text)
