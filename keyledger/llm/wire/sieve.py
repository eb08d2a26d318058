"""Says whether a text may hold one of several secret texts, in a time that does not depend on them.

Python's own search skips ahead by the distance of each character from the end of what it looks for. So a caller who
chooses the text, and measures how long the search takes, learns where which characters are in a key. Here several
characters at a time are compared by their hashes, which differ in each process.
Promises: a text that holds one of the secret texts, of eight characters or more, passes. A text passes only if it
holds, in a row, half of the characters of one, 16 at most, from its middle; those of a key that is long enough are too
many to guess, also where it is known to be hexadecimal, and in base64, where 16 characters are twelve of the key. The
time depends on how long the secret texts are, not on what they have in common with the text.
"""

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain

_SHORTEST, _LONGEST = 8, 16
"""Characters that are compared at a time, by the length of the secret text."""
_AT_ONCE = 64
_ABSENT = b""
"""No text has it among its parts. Without it, an intersection would end where all has been found."""


class Sieve:
    """The characters of several secret texts that a text is compared with."""

    __slots__ = ("_anywhere", "_at_multiples")

    def __init__(self, texts: Iterable[bytes]) -> None:
        """texts: of eight characters or more. For each shorter than 15, comparing takes eight times as long."""
        at_multiples, anywhere = dict[int, set[bytes]](), set[bytes]()
        for text in texts:
            size = min((len(text) + 1) // 2, _LONGEST)
            if size < _SHORTEST:
                middle = (len(text) - _SHORTEST) // 2
                anywhere.add(text[middle : middle + _SHORTEST])
                continue
            # Of so many characters, `size` begin at a multiple of `size`, wherever they are in a text.
            middle = (len(text) - (2 * size - 1)) // 2
            parts = at_multiples.setdefault(size, {_ABSENT})
            parts.update(text[at : at + size] for at in range(middle, middle + size))
        self._at_multiples, self._anywhere = tuple(at_multiples.items()), anywhere and anywhere | {_ABSENT}

    def may_hold(self, text: bytes) -> bool:
        """Return whether the text has to be searched."""
        # Each looks at the whole text: one that ended at the first match would show, by its time, that there is one.
        found = [parts.intersection(_cut(text, 0, size)) for size, parts in self._at_multiples]
        if self._anywhere:
            found += [self._anywhere.intersection(_cut(text, at, _SHORTEST)) for at in range(_SHORTEST)]
        return any(found)


def _cut(text: bytes, start: int, size: int) -> Iterator[bytes]:
    """Return the `size` characters that begin at `start`, and at every multiple of `size` after it."""
    many, one = _cutters(size)
    chosen = memoryview(text)[start:]
    end = len(chosen) // many.size * many.size
    rest = chosen[end : len(chosen) // size * size]
    return chain(chain.from_iterable(many.iter_unpack(chosen[:end])), chain.from_iterable(one.iter_unpack(rest)))


@lru_cache
def _cutters(size: int) -> tuple[struct.Struct, struct.Struct]:
    return struct.Struct(f"{size}s" * _AT_ONCE), struct.Struct(f"{size}s")
