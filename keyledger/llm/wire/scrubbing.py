"""Removes a key from a body that a provider sent, however the network splits it.

Promises: the output does not contain the key in any of the forms of `key_forms`; each is replaced by `[redacted]`, and
all other bytes are unchanged. How many bytes leave, and when, depends on the body and never on the key, so a caller who
chooses what the provider sends learns nothing about the key from it: the last 28 KiB are always held back, of a shorter
body everything. Of bodies made of lines, such as server-sent events, each line leaves at its end, because no form of a
key contains a line end.
Not detected: a key that the provider spreads over several values or lines; a form longer than 28 KiB, which is 7 bytes
for each character of the longest key.
"""

from keyledger.llm.wire.key_forms import KeyForms

REDACTED = b"[redacted]"

HOLD = 28 * 1024
"""Bytes that stay back, for every key alike."""
STEP = 36 * 1024
"""Bytes that are searched in one go, besides those held back: some milliseconds at worst."""
_CONTEXT = 1024
"""Bytes before a place that decide how the text is decoded there: an escape may have begun before."""

_LINES = frozenset(
    (
        *("text/event-stream", "application/json-seq", "application/stream+json"),
        *("application/x-ndjson", "application/ndjson", "application/x-json-stream"),
        *("application/jsonl", "application/x-jsonl", "application/jsonlines", "application/x-jsonlines"),
        *("application/json-lines", "text/jsonl", "text/x-jsonl", "text/ndjson"),
    )
)


class Scrubber:
    """Removes a key from one body, piece by piece. Holds the key until `finish` or `drop`."""

    def __init__(self, forms: KeyForms, media_type: str = "") -> None:
        """media_type: of the body, with or without parameters; it decides whether lines leave at their ends."""
        self._forms = forms
        self._in_lines = media_type.partition(";")[0].strip().lower() in _LINES
        self._buffer = bytearray()
        self._passed = 0  # bytes at the start of the buffer that have left and are kept as context

    def feed(self, piece: bytes) -> bytes:
        """Return the bytes that can be passed on so far."""
        self._buffer += piece
        end = self._passed
        if self._in_lines:
            since = len(self._buffer) - len(piece)
            end = max(end, self._buffer.rfind(b"\n", since) + 1, self._buffer.rfind(b"\r", since) + 1)
        if len(self._buffer) - end >= HOLD + STEP:
            end = len(self._buffer) - HOLD
        return self._released(end) if end > self._passed else b""

    def finish(self) -> bytes:
        """Return the remaining bytes and drop the key."""
        rest = self._released(len(self._buffer))
        self.drop()
        return rest

    def drop(self) -> None:
        """Drop the bytes held back and the key."""
        self._forms, self._buffer, self._passed = _NO_FORMS, bytearray(), 0

    def _released(self, end: int) -> bytes:
        """Return the scrubbed bytes up to `end`, or up to the end of an occurrence of the key that begins before."""
        text = bytes(self._buffer)
        released, end = _redacted(text, self._passed, end, self._forms)
        context = 0 if text[end - 1 : end] in _LINE_ENDS else min(end, _CONTEXT)
        del self._buffer[: end - context]
        self._passed = context
        return released


_NO_FORMS = KeyForms("")
_LINE_ENDS = (b"\n", b"\r")


def redacted(text: bytes, forms: KeyForms) -> bytes:
    """Return a complete text without the key."""
    return _redacted(text, 0, len(text), forms)[0]


def _redacted(text: bytes, start: int, end: int, forms: KeyForms) -> tuple[bytes, int]:
    """Return `text` from `start` to `end` without the key, and where it really ended: an occurrence is never cut."""
    parts, at = [], start
    for begin, ended in forms.spans(text, start):
        if begin >= end:
            break
        parts += [text[at:begin], REDACTED]
        at = ended
    parts.append(text[at:end])
    return b"".join(parts), max(at, end)
