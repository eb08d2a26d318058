"""A statement as the server takes it: with numbered parameters, in text.

The driver's own notation (`%s`, `%(name)s`) stays in the SQL, so that one text serves the driver and the pipeline.
"""

import re
from collections.abc import Iterable, Mapping

_NEEDS_QUOTES = re.compile(r"[^0-9A-Za-z_.:,-]")
_PLACE = re.compile(r"%(?:s|\((\w+)\)s)")


class Statement:
    """A statement of the pipeline. name: under which a direct connection prepares it; unique in the program."""

    __slots__ = ("name", "names", "text")

    def __init__(self, name: str, sql: str) -> None:
        """sql: with places of one kind, in the driver's notation."""
        self.name = name
        self.names = list(dict.fromkeys(found[1] or str(nth) for nth, found in enumerate(_PLACE.finditer(sql))))
        numbers = {one: f"${nth}" for nth, one in enumerate(self.names, start=1)}
        counted = iter(range(len(self.names)))
        self.text = _PLACE.sub(lambda found: numbers[found[1] or str(next(counted))], sql).encode()

    def by_name(self, values: Mapping[str, str]) -> list[bytes]:
        """Return the parameters in their order, from values by the names of their places."""
        return [values[name].encode() for name in self.names]


def text_array(elements: Iterable[str]) -> str:
    """Return an array of ids and names in PostgreSQL's notation. Raises ValueError for an element that needs quotes.

    Built here, because the driver takes longer to write arrays of hundreds of ids than the server takes to answer.
    """
    joined = ",".join(elements)
    if _NEEDS_QUOTES.search(joined):
        raise ValueError("an element needs quotes")
    return "{" + joined + "}"
