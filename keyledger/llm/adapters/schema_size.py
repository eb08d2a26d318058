"""Tells how large a JSON schema becomes once its references are replaced by what they refer to, without doing so.

A library that replaces them needs time and memory for each, and a schema of a kilobyte can become one of gigabytes.
"""

from collections.abc import Iterator
from typing import Any

SIZE_MAX = 20_000
"""Values in a schema with its references replaced."""
_DEEP = 200
_DEFINITIONS = ("$defs", "definitions")


def is_boundless(schema: Any) -> bool:
    """Return whether a schema is too large with its references replaced, or never ends."""
    try:
        return _Sizes(schema).of(schema, 0) > SIZE_MAX
    except RecursionError:
        return True


class _Sizes:
    """The sizes of the definitions of one schema, each computed once."""

    def __init__(self, schema: Any) -> None:
        self._definitions = dict(_definitions(schema))
        self._sizes: dict[str, int] = {}

    def of(self, value: Any, depth: int) -> int:
        """Return the number of values. Raises RecursionError for what never ends."""
        if depth > _DEEP:
            raise RecursionError
        if isinstance(value, list):
            return 1 + sum(self.of(one, depth + 1) for one in value)
        if not isinstance(value, dict):
            return 1
        size = 1 + sum(self.of(one, depth + 1) for one in value.values())
        reference = value.get("$ref")
        return size + self._definition(reference.rpartition("/")[2], depth) if isinstance(reference, str) else size

    def _definition(self, name: str, depth: int) -> int:
        if name not in self._definitions:
            return 0
        if name not in self._sizes:
            self._sizes[name] = self.of(self._definitions[name], depth + 1)
        return self._sizes[name]


def _definitions(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the definitions anywhere in a schema by their names."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            for member in _DEFINITIONS:
                if isinstance(one.get(member), dict):
                    yield from one[member].items()
            left += one.values()
        elif isinstance(one, list):
            left += one
