"""Shows the characters of a text that a reader cannot see and that a terminal, a browser or a spreadsheet obeys.

Promises: a text that passed `visible` cannot move the cursor, set the title, change the writing direction, ring the
bell, break a line or look like another text through invisible characters: control characters (C0, DEL, C1), format
characters such as bidirectional controls, zero-width characters and tags, line separators, characters that are never
drawn, and halves of surrogate pairs become readable escapes. A JSON text that passed `visible_json` has the same
members and values, with JSON's own escapes in place of these characters.
"""

import json
import re
from unicodedata import category

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_NEVER_DRAWN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
"""Characters of other categories that are ignored when a text is drawn (Default_Ignorable_Code_Point), without the
variation selectors that choose between two forms of an emoji."""
_DELETE = "\x7f"
"""The one control character that JSON writers leave as it is."""
_SUSPECT = re.compile(r"[^\x20-\x7e]")
_SUSPECT_IN_JSON = re.compile(r"[^\x20-\x7e\n]")


def visible(text: str) -> str:
    """Return a text with the characters that a reader cannot see as escapes such as `\\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return _SUSPECT.sub(lambda found: _escape(found[0]) if _is_unseen(found[0]) else found[0], text)


def visible_json(text: str) -> str:
    """Return a JSON text with the same characters as JSON escapes. Its own line ends stay."""
    return _SUSPECT_IN_JSON.sub(lambda found: _json_escape(found[0]) if _is_unseen(found[0]) else found[0], text)


def _is_unseen(letter: str) -> bool:
    return category(letter) in _UNSEEN or _NEVER_DRAWN.match(letter) is not None


def _json_escape(letter: str) -> str:
    return "\\u007f" if letter == _DELETE else json.dumps(letter)[1:-1]


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
