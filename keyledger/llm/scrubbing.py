"""Takes a key out of bytes that a provider sent, also where the key is split between two pieces.

Promises: no output holds the key as it was sent, as JSON or HTML or a URL would write it, or in base64; nothing is held
back but a beginning of the key at the end of a piece, so a stream is not delayed.
Does not see a key that the provider spreads over several JSON values.
"""

import base64
import html
import json
from urllib.parse import quote

REDACTED = b"[redacted]"


class Scrubber:
    """Scrubs one answer, piece by piece. Holds the key until `finish`."""

    def __init__(self, key: str) -> None:
        self._forms = _forms(key)
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """Return what of the answer so far may be passed on."""
        text = self._held + piece
        for form in self._forms:
            text = text.replace(form, REDACTED)
        held = max((_beginning(text, form) for form in self._forms), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def finish(self) -> bytes:
        """Return the rest and forget the key."""
        rest, self._held, self._forms = self._held, b"", ()
        return rest


def _forms(key: str) -> tuple[bytes, ...]:
    """Return the ways a server may write the key. The longest come first, so that none leaves half of another."""
    escaped = json.dumps(key)[1:-1]
    texts = {key, escaped, escaped.replace("/", "\\/"), quote(key, safe=""), html.escape(key)}
    forms = {text.encode() for text in texts} | {base64.b64encode(key.encode()).rstrip(b"=")}
    return tuple(sorted(forms, key=len, reverse=True))


def _beginning(text: bytes, form: bytes) -> int:
    """Return the length of the longest end of `text` that `form` begins with and goes on from."""
    start = max(0, len(text) - len(form) + 1)
    while (start := text.find(form[:1], start)) >= 0:
        if form.startswith(text[start:]):
            return len(text) - start
        start += 1
    return 0
