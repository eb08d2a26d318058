"""Decodes the escapes of JSON, HTML and URLs in a text, whatever the text is, and leads back to places in the text.

Promises: an escape is decoded wherever it appears, up to three levels deep, since nothing is known about the format of
the text: JSON in JSON, `%2541`, `&amp;#65;`. 64 KiB of nothing but escapes take some milliseconds. Only printable ASCII
is decoded, because keys have no other characters.
Not decoded: a character reference with more than seven leading zeros.
"""

import html
import re
from bisect import bisect_right
from html.entities import html5
from itertools import accumulate, compress, product
from typing import Self

DEPTH = 3
_KEPT_MAX = 16
"""Bytes of the longest escape whose character is kept; there are some thousands of those."""

# A run of backslashes is taken as a whole: JSON doubles them on every level.
_ALTERNATIVES = {
    b"\\": rb"\\(?<!\\\\)\\*+(?:u00[2-7][0-9a-fA-F]|x[2-7][0-9a-fA-F]|[\"'/])",
    b"%": rb"%[2-7][0-9a-fA-F]",
    b"&": (
        rb"&(?:#0{0,7}(?:3[2-9]|[4-9][0-9]|1[01][0-9]|12[0-6])(?![0-9]);?"
        rb"|#[xX]0{0,7}[2-7][0-9a-fA-F](?![0-9a-fA-F]);?"
        rb"|[A-Za-z]{2,16};)"
    ),
}


def _patterns() -> dict[tuple[bool, ...], re.Pattern[bytes]]:
    """Return a pattern for each set of characters with which the escapes of a text begin: the fewer, the faster."""
    return {
        present: re.compile(b"(%s)" % b"|".join(compress(_ALTERNATIVES.values(), present)))
        for present in product((False, True), repeat=len(_ALTERNATIVES))
        if any(present)
    }


_PATTERNS = _patterns()


class _Characters(dict[bytes, bytes]):
    """The character of each escape, filled as escapes are met, unless they are longer than usual."""

    def __missing__(self, escape: bytes) -> bytes:
        if escape[:1] == b"&" and escape[1:2] != b"#":
            return escape  # a name of another character, or none
        character = _numbered(escape)
        if len(escape) <= _KEPT_MAX:
            self[escape] = character
        return character


def _numbered(escape: bytes) -> bytes:
    if escape[:1] == b"&":
        return html.unescape(escape.decode("ascii")).encode("ascii")
    return escape[-1:] if escape[-1:] in b"\"'/" else bytes([int(escape[-2:], 16)])


_CHARACTERS = _Characters(
    {
        b"&%s" % name.encode("ascii"): character.encode("ascii")
        for name, character in html5.items()
        if name.endswith(";") and len(character) == 1 and " " <= character <= "~"
    }
)


class Layer:
    """A text, or the text below it with one level of its escapes decoded."""

    __slots__ = ("_below", "_origins", "_parts", "_starts", "text")

    def __init__(
        self, text: bytes, below: Self | None = None, parts: tuple[list[bytes], list[bytes]] = ([], [])
    ) -> None:
        """parts: of the text below, and each of them decoded."""
        self.text = text
        self._below = below
        self._parts = parts
        self._starts: list[int] = []
        self._origins: list[int] = []

    def origin(self, at: int) -> int:
        """Return the place in the undecoded text where the character at this place of `text` begins."""
        if self._below is None:
            return at
        starts, origins = self._places()
        index = bisect_right(starts, at) - 1
        return self._below.origin(origins[index] + at - starts[index])

    def place(self, origin: int) -> int:
        """Return the place of the first character of `text` that begins there in the undecoded text, or later."""
        if self._below is None:
            return origin
        starts, origins = self._places()
        at = self._below.place(origin)
        index = bisect_right(origins, at) - 1
        ahead = at - origins[index]
        return starts[index] + ahead if not ahead or self._is_kept(index) else starts[index + 1]

    def _is_kept(self, index: int) -> bool:
        escaped, decoded = self._parts
        return escaped[index] == decoded[index]

    def _places(self) -> tuple[list[int], list[int]]:
        """Return where each part begins in this text and in the one below."""
        if not self._starts:
            escaped, decoded = self._parts
            self._starts = list(accumulate(map(len, decoded), initial=0))
            self._origins = list(accumulate(map(len, escaped), initial=0))
        return self._starts, self._origins


def layers_of(text: bytes) -> list[Layer]:
    """Return the text as it is, and decoded once, twice and three times, as far as it has escapes."""
    layers = [Layer(text)]
    while len(layers) <= DEPTH and (pattern := _PATTERNS.get((b"\\" in text, b"%" in text, b"&" in text))):
        parts = pattern.split(text)
        if len(parts) == 1:
            break
        decoded = parts.copy()
        decoded[1::2] = map(_CHARACTERS.__getitem__, parts[1::2])
        if decoded == parts:
            break
        text = b"".join(decoded)
        layers.append(Layer(text, layers[-1], (parts, decoded)))
    return layers
