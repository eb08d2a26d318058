"""Takes a key out of bytes that a provider sent, also where the key is split between two pieces.

Promises: no output holds the key as it was sent, as JSON or HTML or a URL would write it, or in base64; in JSON any of
its characters may be written as an escape. Nothing is held back but a beginning of the key, or of an escape, at the end
of a piece, so a stream is not delayed. What has none of these comes out as it came; an escape of a character of the key
may come out as the character itself, which is the same JSON.
Does not see a key that the provider spreads over several JSON values. A key under eight characters is no secret, and an
answer is not changed for it: it would be found in ordinary words.
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
_SET_ASIDE = b"\xff"  # in no UTF-8 text, so in no JSON
_CUT_ESCAPE = re.compile(rb"\\(u[0-9a-fA-F]{0,3})?\Z")
_ESCAPE_MAX = 6


class Scrubber:
    """Scrubs one answer, piece by piece. Holds the key until `finish`.

    text: False for what is no text, where a backslash begins no escape: then every byte stays but those of the key.
    """

    def __init__(self, key: str, *, text: bool = True) -> None:
        self._forms = _forms(key) if len(key) >= KEY_MIN else ()
        self._key = key
        self._text = text
        self._escapes: tuple[tuple[bytes, bytes], ...] | None = None  # not computed where nothing is escaped
        self._held = b""

    def found_in(self, text: bytes) -> bool:
        """Say whether `text`, as it stands or with other letter case, holds the key."""
        if not self._forms:
            return False
        return any(form in text for form in self._forms) or self._key.lower().encode() in text.lower()

    def feed(self, piece: bytes) -> bytes:
        """Return what of the answer so far may be passed on."""
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
        """Return the rest and forget the key."""
        rest, self._held, self._forms, self._escapes, self._key = self._held, b"", (), (), ""
        return rest

    def _unescaped(self, text: bytes) -> tuple[bytes, bytes]:
        """Return `text` with the key's characters as themselves, and apart what may be a beginning of an escape.

        Only whole replacements over the whole text: their cost does not depend on what a provider wrote.
        """
        if not self._text or b"\\" not in text or _SET_ASIDE in text:
            return text, b""
        text = text.replace(_BACKSLASHES, _SET_ASIDE)  # what follows an escaped backslash is no escape
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
    """Return the ways a server may write the key. The longest come first, so that none leaves half of another."""
    texts = {key, json.dumps(key)[1:-1], quote(key, safe=""), html.escape(key)}
    forms = {text.encode() for text in texts} | {base64.b64encode(key.encode()).rstrip(b"=")}
    return tuple(sorted(forms, key=len, reverse=True))


def _escapes(key: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the escapes that a character of the key may be written as, each with its usual form in JSON.

    A key is a header's value, so its characters are ASCII. The digits of an escape may be of either case.
    """
    found = [(b"\\/", b"/")] if "/" in key else []
    for character in sorted(set(key)):
        usual = json.dumps(character)[1:-1].encode().replace(_BACKSLASHES, _SET_ASIDE)
        digits = [sorted({digit, digit.upper()}) for digit in f"{ord(character):04x}"]
        found += [(f"\\u{''.join(spelling)}".encode(), usual) for spelling in itertools.product(*digits)]
    return tuple(found)


def _beginning(text: bytes, form: bytes) -> int:
    """Return the length of the longest end of `text` that `form` begins with and goes on from."""
    start = max(0, len(text) - len(form) + 1)
    while (start := text.find(form[:1], start)) >= 0:
        if form.startswith(text[start:]):
            return len(text) - start
        start += 1
    return 0
