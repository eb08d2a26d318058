"""A method and a pattern of paths in a provider's own API, as operators write them: `GET:v1/files/*`."""

from dataclasses import dataclass
from typing import Self

from domain.calls.native_path import normalised_path
from domain.errors import InvalidRequestError

ANY_METHOD = "*"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", ANY_METHOD})
_REST = "**"


@dataclass(frozen=True, slots=True)
class RoutePattern:
    """The routes with a method and a form of path.

    method: `*` for all. path: segments; `*` is any one segment, and `**` at the end any further ones.
    """

    method: str
    path: tuple[str, ...]

    @classmethod
    def read(cls, text: str, form: str) -> Self:
        """Return the pattern that a text such as `GET:v1/models/*` describes.

        form: how such a text is written, for errors. Raises ValueError with our own text, which does not repeat `text`.
        """
        method, colon, path = text.partition(":")
        if not colon or not path:
            raise ValueError(form)
        if method.upper() not in METHODS:
            raise ValueError(f"must name one of {', '.join(sorted(METHODS))} as its method; {form}")
        return cls(method.upper(), _segments(path))

    def matches(self, method: str, path: str) -> bool:
        """Whether a call uses such a route. path: normalised; a version `v1` at its beginning does not count."""
        if self.method not in {ANY_METHOD, method}:
            return False
        called, known = _unversioned(tuple(path.split("/"))), _unversioned(self.path)
        if known[-1] == _REST:
            return len(called) >= len(known) and all(map(_same, known[:-1], called))
        return len(called) == len(known) and all(map(_same, known, called))

    def __str__(self) -> str:
        return f"{self.method}:{'/'.join(self.path)}"


def _segments(path: str) -> tuple[str, ...]:
    *segments, last = path.removeprefix("/").split("/")
    plain = [one for one in (*segments, last) if one not in {"*", _REST}]
    if _REST in segments or not all(plain) or any("*" in one for one in plain):
        raise ValueError("must have a path of segments, each a text or a single *, and ** only at the end")
    if any(_normalised(one) != one for one in plain):
        raise ValueError("must have a path of plain segments, without a query, escapes, spaces and dot segments")
    return (*segments, last)


def _normalised(segment: str) -> str | None:
    try:
        return normalised_path(segment)
    except InvalidRequestError:
        return None


def _unversioned(path: tuple[str, ...]) -> tuple[str, ...]:
    return path[1:] if len(path) > 1 and path[0] == "v1" else path


def _same(known: str, called: str) -> bool:
    return known == called or (known == "*" and called != "")
