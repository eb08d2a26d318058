"""Characters that a reader cannot see or that a terminal obeys: they are shown, and every other text stays."""

import json
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.text.visible_text import visible, visible_json
from tests.support.each import each
from tests.support.unseen import UNSEEN, unseen_in

UNSEEN_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("plain", "plain", id="plain text"),
        pytest.param("\x1b[2J", "\\x1b[2J", id="an escape sequence"),
        pytest.param("\x9b2J", "\\x9b2J", id="one of eight bits"),
        pytest.param("\u202eabc", "\\u202eabc", id="another direction"),
        pytest.param("a\tb\nc", "a\\x09b\\x0ac", id="a tab and a line end"),
        pytest.param("\U000e0041", "\\U000e0041", id="a tag"),
        pytest.param("al\u200dice", "al\\u200dice", id="a name that looks like another"),
        pytest.param("\ud800", "\\ud800", id="half of a surrogate pair"),
        pytest.param("\u3164", "\\u3164", id="a letter that is never drawn"),
        pytest.param("å漢 é\u0301 ❤\ufe0f", "å漢 é\u0301 ❤\ufe0f", id="other scripts"),
    ],
)
def test_characters_that_cannot_be_seen_are_shown(text, shown):
    assert visible(text) == shown


@each("letter", UNSEEN, ids=[f"U+{ord(letter):04X}" for letter in UNSEEN])
def test_each_of_them_is_an_escape_in_a_text_and_in_json(letter):
    assert unseen_in(visible(f"a{letter}b")) == set()
    document = visible_json(json.dumps({letter: letter}, ensure_ascii=False))
    assert unseen_in(document) == set()
    assert json.loads(document) == {letter: letter}


@given(st.text())
def test_no_category_of_such_characters_is_left(text):
    assert not {letter for letter in visible(text) if category(letter) in UNSEEN_CATEGORIES}


@given(st.dictionaries(st.text(), st.text() | st.lists(st.text())))
def test_a_document_has_the_same_data(data):
    shown = visible_json(json.dumps(data, ensure_ascii=False, indent=2))
    assert json.loads(shown) == data
    assert not {letter for letter in shown if category(letter) in UNSEEN_CATEGORIES and letter != "\n"}
