"""The origin of a request, and the header that carries its key."""

from dataclasses import dataclass

from yarl import URL


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a URL. port: the scheme's default where the URL has none."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class KeyHeader:
    """The header that carries the key. name: in lower case. prefix: precedes the key, such as `Bearer `."""

    name: str
    prefix: str = ""


def origin_of(url: URL) -> Origin:
    """Return the origin of a URL."""
    return Origin(url.scheme, (url.raw_host or "").lower(), url.port or 0)


BEARER = KeyHeader("authorization", "Bearer ")
