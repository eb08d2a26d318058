"""Output to a terminal: whatever a text from elsewhere holds, the terminal does not obey it."""

import json
import sys

import pytest

from scripts.terminal.confirmation import confirm
from scripts.terminal.output import DataOutput, Table, print_hanging, print_json, print_line, print_table, say
from scripts.terminal.progress import ProgressDisplay
from tests.support.unseen import HOSTILE, unseen_in

PLACES = pytest.mark.parametrize("terminal", [False, True], ids=["in a pipe", "on a terminal"])


def be_terminal(monkeypatch, terminal):
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: terminal)


def progress() -> None:
    ticks = iter(range(0, 100, 10))
    with ProgressDisplay(lambda: next(ticks)) as display:
        display.update(HOSTILE, 1, 2)
        display.update(HOSTILE, 2, 2)


@PLACES
@pytest.mark.parametrize(
    "show",
    [
        pytest.param(lambda: print_table(Table((HOSTILE,), [(HOSTILE,)])), id="a table"),
        pytest.param(lambda: print_table(Table(("a",), [(HOSTILE,)]), wide=True), id="a wide table"),
        pytest.param(lambda: print_table(Table(("a", HOSTILE), [("b", HOSTILE)], [HOSTILE])), id="a column below"),
        pytest.param(lambda: print_line(HOSTILE), id="a line"),
        pytest.param(lambda: print_line(HOSTILE, style="bold"), id="a bold line"),
        pytest.param(lambda: print_hanging(HOSTILE, "  "), id="a paragraph"),
        pytest.param(lambda: print_json({HOSTILE: [HOSTILE]}), id="a document"),
        pytest.param(lambda: say(HOSTILE), id="a message"),
        pytest.param(progress, id="progress"),
    ],
)
def test_every_way_to_the_terminal_is_safe(show, terminal, capsys, monkeypatch):
    be_terminal(monkeypatch, terminal)
    monkeypatch.setenv("TERM", "dumb")
    show()
    said = capsys.readouterr()
    shown = said.out + said.err
    assert shown
    # Rich, which styles lines and draws bars on a terminal, writes its own sequences.
    plain = shown.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert unseen_in(plain, "\n") == set()
    assert "[bold]" in shown, "markup is text"


def test_a_text_cannot_begin_a_line_of_its_own(capsys):
    say("refused\nkeyledger: the evidence holds")
    assert capsys.readouterr().err == "refused\\x0akeyledger: the evidence holds\n"


@PLACES
def test_data_for_programs_stays_as_it_is_except_on_a_terminal(terminal, capfdbinary, monkeypatch):
    be_terminal(monkeypatch, terminal)
    output, data = DataOutput(), f"a,b\n{HOSTILE.replace(chr(10), '')},\u00e9\n".encode()
    for number in range(len(data)):
        output.write(data[number : number + 1])
    output.flush()
    written = capfdbinary.readouterr().out
    if terminal:
        assert unseen_in(written.decode(), "\n") == set()
        assert written.decode().endswith(",\u00e9\n")
        assert written.count(b"\n") == 2
    else:
        assert written == data


def test_a_question_is_safe(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda question, err: print(question) is None)
    confirm(HOSTILE, "nothing was changed")
    assert unseen_in(capsys.readouterr().out, "\n") == set()


def test_a_document_is_one_for_programs(capsys):
    print_json({"reason": HOSTILE})
    assert json.loads(capsys.readouterr().out) == {"reason": HOSTILE}
