"""The banned phrases of docs/contributing/style.md, counted in everything that people read."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.places import REPOSITORY
from tests.support.prose import Prose, prose

PAGE = "docs/contributing/style.md"
# The page and its test quote what they ban; the golden files are what earlier versions wrote.
QUOTING = (PAGE, "tests/docs/test_style.py", "tests/golden/")
_WORD = re.compile(r"[\w'-]+")
_WHO = re.compile(r"(?:\A[-#*|\s]*|(?<=[.;:!?]\s)|(?<=\n\n)|(?<=\| ))Who\b[^.?!]*(?:[.!]|\Z)")


def phrase(spelled: str) -> re.Pattern[str]:
    """Compile a phrase of the page: a slash separates alternatives for a word, `*` is any word."""
    words = [
        r"[\w'-]+" if word == "*" else f"(?:{'|'.join(map(re.escape, word.split('/')))})" for word in spelled.split()
    ]
    return re.compile(r"(?<![\w'-])" + r"\s+".join(words) + r"(?![\w'-])", re.IGNORECASE)


def section(heading: str) -> str:
    text = (REPOSITORY / PAGE).read_text(encoding="utf-8")
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


@dataclass(frozen=True)
class Rule:
    """A banned phrase, with the phrases that excuse it. words: the alternatives for each of its words."""

    words: tuple[frozenset[str], ...]
    found: re.Pattern[str]
    excuses: list[re.Pattern[str]]

    def may_be_in(self, words: frozenset[str]) -> bool:
        """Say whether a text with these words may hold the phrase. Searching for every phrase takes much longer."""
        return not any(alternatives.isdisjoint(words) for alternatives in self.words)


def words_of(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))


def banned() -> list[Rule]:
    """Each banned phrase of the table."""
    rows = [line.strip("|").split("|") for line in section("Banned phrases").splitlines() if line.startswith("|")][2:]
    spans = [[re.findall(r"`([^`]+)`", cell) for cell in row] for row in rows]
    return [
        Rule(
            tuple(words for word in span.split() if (words := words_of(word.replace("/", " ")))),
            phrase(span),
            list(map(phrase, excuses)),
        )
        for not_this, _, excuses in spans
        for span in not_this
    ]


def openings() -> tuple[str, ...]:
    """The words that a docstring must not open with."""
    line = next(line for line in section("Banned openings").splitlines() if "docstring" in line)
    return tuple(re.findall(r"`(\w+)`", line))


RULES = banned()
_OPENING = re.compile(rf"(?:{'|'.join(openings())})\b")


def findings(piece: Prose) -> Iterator[str]:
    """Yield each banned phrase of one piece of prose, with its surroundings."""
    if piece.is_docstring and _OPENING.match(piece.text):
        yield f"{piece}: the docstring opens with {piece.text.split()[0]!r}"
    for question in _WHO.finditer(piece.text):
        yield f"{piece}: a sentence opens with 'Who': {' '.join(question[0].split())}"
    words = words_of(piece.text)
    for rule in RULES:
        if not rule.may_be_in(words):
            continue
        excused = [span for excuse in rule.excuses for span in excuse.finditer(piece.text)]
        for hit in rule.found.finditer(piece.text):
            if not any(span.start() < hit.end() and hit.start() < span.end() for span in excused):
                around = piece.text[max(0, hit.start() - 40) : hit.end() + 40]
                yield f"{piece}: {hit[0]!r}: ...{' '.join(around.split())}..."


def test_no_banned_phrase_is_used() -> None:
    found = [found for piece in prose() if not piece.file.startswith(QUOTING) for found in findings(piece)]
    assert not found, "\n".join([f"{len(found)} banned phrases; {PAGE} says what to write instead", *found])


CASES = {
    "a banned word": ("Start anew.", 1),
    "a banned phrase across lines": ("The caller is\ntold so.", 1),
    "an excused phrase": ("The two are told apart.", 0),
    "an excused phrase does not excuse another": ("There is none, and two keys are none.", 1),
    "a longer word that contains a banned one": ("renewed, Canada, besides", 0),
    "a hyphenated word that contains one": ("a well-beside-it", 0),
    "a riddle that opens a sentence": ("It waits. Who stops waiting stops nothing.", 1),
    "a question": ("Who may read the log?", 0),
    "ordinary English": ("If there is none, the row stays as it is and is no longer read.", 0),
}


@pytest.mark.parametrize(("text", "count"), CASES.values(), ids=CASES)
def test_the_rules_find_what_they_name(text: str, count: int) -> None:
    assert len(list(findings(Prose("a.md", 1, text)))) == count


def test_every_row_of_the_table_is_read() -> None:
    assert len(RULES) > 30
    assert openings() == ("What", "Who", "Whose", "Where", "That")
