"""Passes the events of a relayed stream on, and knows whether the stream came to its proper end.

Promises: an event is passed on once it is whole, byte for byte, unless it is longer than 1 MiB, in which case its parts
are; it is known by its name, or by its type if that comes first. A stream is whole only if it had the event that ends a
stream of its route; one of text completions also needs a reason for the end of each of its choices, and its `[DONE]` is
passed on only then.
Source: OpenAI's API reference for streaming events.
"""

import re
from collections.abc import Mapping
from typing import Any

from keyledger.llm.answers.bounded_json import CUT_OFF, InvalidAnswerError, read_object
from keyledger.llm.answers.bounds import EVENT_MAX, PLAIN

_ENDS: Mapping[str, frozenset[str]] = {
    "completions": frozenset({"[DONE]"}),
    "responses": frozenset({"response.completed", "response.incomplete", "response.failed"}),
    "messages": frozenset({"message_stop"}),
    "images/generations": frozenset({"image_generation.completed", "[DONE]"}),
    "images/edits": frozenset({"image_edit.completed", "[DONE]"}),
    "audio/speech": frozenset({"speech.audio.done", "[DONE]"}),
    "audio/transcriptions": frozenset({"transcript.text.done", "[DONE]"}),
}
"""By group of routes, the types of the events that end a stream. Servers in the form of chats end some by `[DONE]`."""
_BLANK = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_LINE = re.compile(rb"\r\n|\n|\r")
_CHOICES_MAX = 10_000
"""Choices of one stream; a prompt has up to 128 of them, and a request a few prompts."""
_HEAD_MAX = 4 * 1024
"""Bytes of a long event in which its name or type is looked for."""
_TYPE_FIRST = re.compile(rb'\{\s*"type"\s*:\s*"([^"\\]{1,100})"')
_UNNAMED = b"message"
"""The name of an event that has none (WHATWG HTML, section 9.2)."""
_KEPT = 3
"""Bytes that may be the beginning of a blank line with the line end before it."""


class EventEnds:
    """The events of one stream. `feed` takes what arrives, `finish` its end."""

    def __init__(self, route: str) -> None:
        """route: the group of a route, as in `openai_routes`."""
        self._ends = _ENDS.get(route, frozenset({"[DONE]"}))
        self._needs_reasons = route == "completions"
        self._waiting = bytearray()
        self._in_long_event = False
        self._long_kind = ""
        self._ended = self._cut_off = False
        self._unfinished: dict[int, bool] = {}

    def feed(self, piece: bytes) -> bytes:
        """Return the events that are whole; none after an end before the end."""
        return b"" if self._cut_off else self._taken(piece)

    def _taken(self, piece: bytes) -> bytes:
        searched = max(0, len(self._waiting) - _KEPT)
        self._waiting += piece
        begun = 0
        for end in [found.end() for found in _BLANK.finditer(self._waiting, searched)]:
            if self._in_long_event:
                self._end(self._long_kind)
            else:
                self._note(bytes(self._waiting[begun:end]))
            if self._cut_off:
                break
            self._in_long_event = False
            begun = end
        if not self._cut_off and len(self._waiting) - begun > EVENT_MAX:
            if not self._in_long_event:
                self._long_kind = _kind_of(bytes(self._waiting[begun : begun + _HEAD_MAX]))
            begun, self._in_long_event = len(self._waiting) - _KEPT, True
        passed = bytes(self._waiting[:begun])
        del self._waiting[: len(self._waiting) if self._cut_off else begun]
        return passed

    def finish(self) -> bytes:
        """Return the last event, if it lacks its blank line.

        Raises InvalidAnswerError for a stream that is not whole.
        """
        last = bytes(self._waiting)
        self._waiting.clear()
        if last.strip() and not self._in_long_event:
            self._note(last)
        if self._cut_off or not self._ended:
            raise InvalidAnswerError(CUT_OFF)
        return last

    def _note(self, event: bytes) -> None:
        name, data = b"", []
        for line in _LINE.split(event):
            if line.startswith(b"data:"):
                data.append(line[5:].strip())
            elif line.startswith(b"event:"):
                name = line[6:].strip()
        said = b"\n".join(data)
        if said == b"[DONE]":
            self._end("[DONE]")
        elif name and name != _UNNAMED and not self._needs_reasons:
            self._end(name.decode("latin-1"))
        elif said:
            self._note_content(_content(said))

    def _note_content(self, content: dict[str, Any]) -> None:
        if isinstance(kind := content.get("type"), str):
            self._end(kind)
        if self._needs_reasons and isinstance(choices := content.get("choices"), list):
            for choice in choices:
                if isinstance(choice, dict) and isinstance(index := choice.get("index", 0), int):
                    unfinished = self._unfinished.get(index, True)
                    self._unfinished[index] = unfinished and choice.get("finish_reason") is None
            self._cut_off = self._cut_off or len(self._unfinished) > _CHOICES_MAX

    def _end(self, kind: str) -> None:
        if kind in self._ends:
            self._ended = True
            unfinished = not self._unfinished or any(self._unfinished.values())
            self._cut_off = self._cut_off or (self._needs_reasons and unfinished)


def _kind_of(head: bytes) -> str:
    """Return the name or type of an event that is too long to be read, from its beginning; "" if it is not there."""
    kind = b""
    for line in _LINE.split(head):
        if line.startswith(b"event:") and (name := line[6:].strip()) != _UNNAMED:
            return name.decode("latin-1")
        if line.startswith(b"data:") and not kind and (found := _TYPE_FIRST.match(line[5:].strip())):
            kind = found[1]
    return kind.decode("latin-1")


def _content(text: bytes) -> dict[str, Any]:
    """Return the object of an event; an empty one for what is not one, or takes long to read."""
    try:
        return read_object(text, PLAIN)
    except InvalidAnswerError:
        return {}
