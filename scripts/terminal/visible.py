"""Makes text from elsewhere safe to show in a terminal.

Promises: the result cannot move the cursor, set the title, change the writing direction or ring the bell: control
characters (C0, DEL, C1), format characters such as bidirectional controls, line separators and lone surrogates become
readable escapes. The joiners that some scripts need are kept.
"""

import json
import re
from unicodedata import category, east_asian_width

_JOINERS = frozenset("\u200c\u200d")
_NOT_PLAIN = re.compile(r"[^\x20-\x7e\n]")
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def visible(text: str, *, keep: str = "") -> str:
    """Return a text with its control characters escaped. keep: control characters to leave as they are."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if letter in keep or not _is_unseen(letter) else _escape(letter) for letter in text)


def visible_json(data: object) -> str:
    """Return data as indented JSON that is safe in a terminal: control characters are JSON escapes."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    return _NOT_PLAIN.sub(lambda found: json.dumps(found[0])[1:-1] if _is_unseen(found[0]) else found[0], text)


def cells_of(text: str) -> int:
    """Return the width of a text in terminal cells."""
    if text.isascii():
        return len(text)
    return sum(_width(letter) for letter in text)


def _width(letter: str) -> int:
    if letter in _JOINERS or category(letter) in {"Mn", "Me"}:
        return 0
    return 2 if east_asian_width(letter) in {"W", "F"} else 1


def _is_unseen(letter: str) -> bool:
    return category(letter) in _UNSEEN and letter not in _JOINERS


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
