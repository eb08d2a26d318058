"""The width of text in the cells of a terminal."""

from unicodedata import category, east_asian_width


def cells_of(text: str) -> int:
    """Return the width of a visible text in terminal cells."""
    if text.isascii():
        return len(text)
    return sum(_width(letter) for letter in text)


def _width(letter: str) -> int:
    if category(letter) in {"Mn", "Me"}:
        return 0
    return 2 if east_asian_width(letter) in {"W", "F"} else 1
