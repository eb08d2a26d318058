"""Removes a key from bytes that a provider sent, even if it is split between two pieces.

Promises: the output does not contain the key as it was sent, as JSON, HTML or a URL would write it, or in base64; in
JSON, any of its characters may be escaped. Only a possible start of the key, or of an escape, at the end of a piece is
held back, so a stream is not delayed. Other bytes are unchanged, except that an escaped character of the key may come
out unescaped, which is the same JSON.
Not detected: a key that the provider spreads over several JSON values. A key shorter than eight characters is not
removed, since it would be found in ordinary words.
"""

import base64
import html
import itertools
import json
import re
from urllib.parse import quote

from domain.credentials.providers import KEY_MIN

REDACTED = b"[redacted]"

_BACKSLASHES = rb"\\"
_SET_ASIDE = b"\xff"  # never occurs in UTF-8, so never in JSON
_CUT_ESCAPE = re.compile(rb"\\(u[0-9a-fA-F]{0,3})?\Z")
_ESCAPE_MAX = 6


class Scrubber:
    """Removes a key from one response, piece by piece. Holds the key until `finish`."""

    def __init__(self, key: str, *, text: bool = True) -> None:
        """text: False for binary content, where backslashes start no escapes; then only the key's bytes change."""
        self._forms = _forms(key) if len(key) >= KEY_MIN else ()
        self._key = key
        self._text = text
        self._escapes: tuple[tuple[bytes, bytes], ...] | None = None  # computed on the first escape
        self._held = b""

    def found_in(self, text: bytes) -> bool:
        """Return whether `text` contains the key, in any letter case."""
        if not self._forms:
            return False
        return any(form in text for form in self._forms) or self._key.lower().encode() in text.lower()

    def feed(self, piece: bytes) -> bytes:
        """Return the bytes that can be passed on so far."""
        if not self._forms:
            return piece
        text, cut_escape = self._unescaped(self._held + piece)
        for form in self._forms:
            text = text.replace(form, REDACTED)
        held = max((_beginning(text, form) for form in self._forms), default=0)
        passed, kept = text[: len(text) - held], text[len(text) - held :]
        self._held = kept + cut_escape
        return passed

    def finish(self) -> bytes:
        """Return the remaining bytes and drop the key."""
        rest, self._held, self._forms, self._escapes, self._key = self._held, b"", (), (), ""
        return rest

    def _unescaped(self, text: bytes) -> tuple[bytes, bytes]:
        """Return `text` with the key's characters unescaped, and separately a possible start of an escape.

        Whole-text replacements only, so that the cost does not depend on the provider's text.
        """
        if not self._text or b"\\" not in text or _SET_ASIDE in text:
            return text, b""
        text = text.replace(_BACKSLASHES, _SET_ASIDE)  # what follows an escaped backslash is not an escape
        cut = _CUT_ESCAPE.search(text, max(0, len(text) - _ESCAPE_MAX))
        cut_escape = cut[0] if cut else b""
        text = text[: len(text) - len(cut_escape)]
        if b"\\/" in text or b"\\u00" in text:
            if self._escapes is None:
                self._escapes = _escapes(self._key)
            for escape, character in self._escapes:
                text = text.replace(escape, character)
        return text.replace(_SET_ASIDE, _BACKSLASHES), cut_escape


def _forms(key: str) -> tuple[bytes, ...]:
    """Return the ways a server may write the key, longest first, so that replacing one never leaves half of another."""
    texts = {key, json.dumps(key)[1:-1], quote(key, safe=""), html.escape(key)}
    forms = {text.encode() for text in texts} | {base64.b64encode(key.encode()).rstrip(b"=")}
    return tuple(sorted(forms, key=len, reverse=True))


def _escapes(key: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the JSON escapes of the key's characters, each with the character's usual form.

    A key is a header value, so its characters are ASCII. The digits of an escape may have either case.
    """
    found = [(b"\\/", b"/")] if "/" in key else []
    for character in sorted(set(key)):
        usual = json.dumps(character)[1:-1].encode().replace(_BACKSLASHES, _SET_ASIDE)
        digits = [sorted({digit, digit.upper()}) for digit in f"{ord(character):04x}"]
        found += [(f"\\u{''.join(spelling)}".encode(), usual) for spelling in itertools.product(*digits)]
    return tuple(found)


def _beginning(text: bytes, form: bytes) -> int:
    """Return the length of the longest suffix of `text` that is a proper prefix of `form`."""
    start = max(0, len(text) - len(form) + 1)
    while (start := text.find(form[:1], start)) >= 0:
        if form.startswith(text[start:]):
            return len(text) - start
        start += 1
    return 0
