"""Finds a key in a text, in each form in which a server may write it.

Promises: finds the key in any letter case, with any of its characters escaped as in JSON, HTML or URLs (see `escapes`),
and in base64, standard or URL-safe: of the key alone or of a longer text such as `Bearer KEY` or `user:KEY`. Only the
whole key is found; its beginnings are not distinguished from other text, nor by the time that a search takes (see
`sieve`).
Not found: a key shorter than eight characters, since it occurs in ordinary words.
"""

import binascii
import json
from collections.abc import Iterator
from typing import NamedTuple

from domain.credentials.providers import KEY_MIN
from keyledger.llm.wire.escapes import Layer, layers_of
from keyledger.llm.wire.sieve import Sieve

_SEXTET, _OCTET = 6, 8
_JSON_LEVELS = 3
_ESCAPED = frozenset('"\\%&')
"""Characters of a key that JSON escapes, or that begin an escape."""
_FOR_URLS = bytes.maketrans(b"+/", b"-_")
_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")

Span = tuple[int, int]
"""The places where an occurrence begins and where it has ended."""


class _Form(NamedTuple):
    """One form of the key.

    any_case: `text` is in lower case and matches any. before, after: the character of base64 next to it holds some bits
    of the key too.
    """

    text: bytes
    any_case: bool = False
    before: bool = False
    after: bool = False


class KeyForms:
    """The forms of one key."""

    __slots__ = ("_forms", "_sieve")

    def __init__(self, key: str) -> None:
        """key: a secret; the forms hold it as long as they live."""
        self._forms = _forms(key) if len(key) >= KEY_MIN else []
        self._sieve = Sieve(form.text.lower() for form in self._forms)

    def found_in(self, text: bytes) -> bool:
        """Return whether `text` contains the key."""
        return bool(self._searches(text))

    def spans(self, text: bytes, start: int = 0) -> Iterator[Span]:
        """Yield the occurrences that begin at `start` or later: leftmost first, the longest of those, no overlaps."""
        searches = self._searches(text)
        at = start
        while searches:
            nearest = min((span for search in searches if (span := search.next(at))), key=_order, default=None)
            if nearest is None:
                return
            yield nearest
            at = nearest[1]

    def _searches(self, text: bytes) -> "list[_Search]":
        """Return a search for each form that occurs in any layer of the text."""
        if not self._forms:
            return []
        searches = []
        for layer in layers_of(text):
            lowered = layer.text.lower()
            if self._sieve.may_hold(lowered):
                for form in self._forms:
                    within = lowered if form.any_case else layer.text
                    if form.text in within:
                        searches.append(_Search(layer, within, form))
        return searches


class _Search:
    """The occurrences of one form in one layer, one after the other."""

    __slots__ = ("_at", "_form", "_layer", "_next", "_own", "_within")

    def __init__(self, layer: Layer, within: bytes, form: _Form) -> None:
        """within: the layer's text, in lower case if the form is."""
        self._layer = layer
        self._within = within
        self._form = form
        self._at = 0
        self._own = -1  # where the characters of the next occurrence begin that the key alone decides
        self._next: Span | None = (-1, -1)

    def next(self, start: int) -> Span | None:
        """Return the first occurrence that begins at `start` of the undecoded text or later.

        Of base64, the key's own characters have to: two neighbours share the character between them.
        """
        if self._next is not None and self._own < start:
            self._at = max(self._at, self._layer.place(start))
            self._next = self._find()
        return None if self._next is None else (max(start, self._next[0]), self._next[1])

    def _find(self) -> Span | None:
        form, within = self._form, self._within
        begin = within.find(form.text, self._at)
        if begin < 0:
            return None
        self._at = begin + 1
        self._own = self._layer.origin(begin)
        end = begin + len(form.text)
        if form.before and begin > 0 and within[begin - 1] in _ALPHABET:
            begin -= 1
        if form.after and end < len(within) and within[end] in _ALPHABET:
            end += 1
        return self._layer.origin(begin), self._layer.origin(end)


def _order(span: Span) -> Span:
    return span[0], -span[1]


def _forms(key: str) -> list[_Form]:
    forms = [_Form(text.lower(), any_case=True) for text in _spellings(key) if len(text) >= KEY_MIN]
    for offset in range(3):
        forms += _in_base64(key.encode(), offset)
    return forms


def _spellings(key: str) -> set[bytes]:
    """Return the key, and what is left of it once a text has been decoded, if the key itself looks escaped."""
    if _ESCAPED.isdisjoint(key):
        return {key.encode()}
    texts = [key]
    for _ in range(_JSON_LEVELS):
        texts.append(json.dumps(texts[-1])[1:-1])
    return {layer.text for text in texts for layer in layers_of(text.encode())}


def _in_base64(key: bytes, offset: int) -> Iterator[_Form]:
    """Yield the characters of base64 that the key alone decides, in both alphabets.

    offset: bytes of the group of three that precede the key.
    """
    encoded = binascii.b2a_base64(bytes(offset) + key, newline=False)
    first, end = -(-_OCTET * offset // _SEXTET), _OCTET * (offset + len(key))
    text = encoded[first : end // _SEXTET]
    yield _Form(text, before=offset > 0, after=end % _SEXTET > 0)
    if b"+" in text or b"/" in text:
        yield _Form(text.translate(_FOR_URLS), before=offset > 0, after=end % _SEXTET > 0)
