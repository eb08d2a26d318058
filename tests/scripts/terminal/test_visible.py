"""Text from elsewhere in a terminal: what it could do there, it cannot."""

import json
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.terminal.output import Table, print_hanging, print_json, print_line, print_table, say
from scripts.terminal.visible import visible, visible_json

HOSTILE = "a\x1b]0;title\x07\x1b[2J\x9b31m\u202eb\u2066c\u061cd\x7f\r\u2028e\ud800"
OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def obeyed(text):
    return {letter for letter in text if category(letter) in OBEYED and letter not in "\n\u200c\u200d"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("plain", "plain", id="plain text"),
        pytest.param("\x1b[2J", "\\x1b[2J", id="an escape sequence"),
        pytest.param("\x9b2J", "\\x9b2J", id="one of eight bits"),
        pytest.param("\u202eabc", "\\u202eabc", id="another direction"),
        pytest.param("a\tb\nc", "a\\x09b\\x0ac", id="a tab and a line end"),
        pytest.param("\U000e0041", "\\U000e0041", id="a tag"),
        pytest.param("å漢", "å漢", id="other scripts"),
        pytest.param("می\u200cخواهم", "می\u200cخواهم", id="a joiner that Persian needs"),
    ],
)
def test_what_a_terminal_would_obey_is_shown(text, shown):
    assert visible(text) == shown


@given(st.text())
def test_nothing_of_a_text_is_obeyed(text):
    assert not obeyed(visible(text))


@given(st.dictionaries(st.text(), st.text() | st.lists(st.text())))
def test_a_document_is_the_same_data_and_nothing_of_it_is_obeyed(data):
    shown = visible_json(data)
    assert json.loads(shown) == data
    assert not obeyed(shown.replace("\n", ""))


@pytest.mark.parametrize(
    "show",
    [
        pytest.param(lambda: print_table(Table((HOSTILE,), [(HOSTILE,)])), id="a table"),
        pytest.param(lambda: print_table(Table(("a",), [(HOSTILE,)]), wide=True), id="a wide table"),
        pytest.param(lambda: print_line(HOSTILE), id="a line"),
        pytest.param(lambda: print_hanging(HOSTILE, "  "), id="a paragraph"),
        pytest.param(lambda: print_json({HOSTILE: [HOSTILE]}), id="a document"),
        pytest.param(lambda: say(HOSTILE), id="talk"),
    ],
)
def test_every_way_to_the_terminal_is_safe(show, capsys):
    show()
    said = capsys.readouterr()
    assert said.out + said.err and not obeyed(said.out + said.err)
