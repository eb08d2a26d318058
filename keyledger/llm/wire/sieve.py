"""Says whether a text may hold one of several secret texts, in a time that does not depend on them.

Python's own search skips ahead by the distance of each character from the end of what it looks for. So a caller who
chooses the text, and measures how long the search takes, learns where which characters are in a key. Here eight
characters at a time are compared by their hashes, which differ in each process.
Promises: a text that holds one of the secret texts, of eight characters or more, passes. A text passes only if it holds
eight characters from the middle of one, which are too many to guess, in a row.
"""

import struct
from collections.abc import Iterable, Iterator
from itertools import chain

_GRAM = 8
"""Characters that are compared at a time."""
_SPREAD = 2 * _GRAM - 1
"""Characters of which eight begin at a multiple of eight, wherever they are in a text."""
_MANY = struct.Struct(f"{_GRAM}s" * 64)
_ONE = struct.Struct(f"{_GRAM}s")


class Sieve:
    """The characters of several secret texts that a text is compared with."""

    __slots__ = ("_anywhere", "_at_multiples")

    def __init__(self, texts: Iterable[bytes]) -> None:
        """texts: of eight characters or more. For each shorter than 15, comparing takes eight times as long."""
        at_multiples, anywhere = set(), set()
        for text in texts:
            if len(text) < _SPREAD:
                middle = (len(text) - _GRAM) // 2
                anywhere.add(text[middle : middle + _GRAM])
                continue
            middle = (len(text) - _SPREAD) // 2
            at_multiples |= {text[at : at + _GRAM] for at in range(middle, middle + _GRAM)}
        self._at_multiples, self._anywhere = frozenset(at_multiples), frozenset(anywhere)

    def may_hold(self, text: bytes) -> bool:
        """Return whether the text has to be searched."""
        if self._at_multiples and not self._at_multiples.isdisjoint(_grams(text, 0)):
            return True
        return bool(self._anywhere) and any(not self._anywhere.isdisjoint(_grams(text, at)) for at in range(_GRAM))


def _grams(text: bytes, start: int) -> Iterator[bytes]:
    """Return the eight characters that begin at `start`, and at every eighth character after it."""
    chosen = memoryview(text)[start:]
    many = len(chosen) // _MANY.size * _MANY.size
    rest = chosen[many : len(chosen) // _GRAM * _GRAM]
    return chain(chain.from_iterable(_MANY.iter_unpack(chosen[:many])), chain.from_iterable(_ONE.iter_unpack(rest)))
