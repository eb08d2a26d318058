"""Where a request may go, and in which header its key does."""

from dataclasses import dataclass

from yarl import URL


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request may go. `port` is a number, also where the URL leaves it out."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class KeyHeader:
    """How a provider wants its key: the header's name and what stands before the key."""

    name: str
    prefix: str = ""


def origin_of(url: URL) -> Origin:
    """Return where a URL leads."""
    return Origin(url.scheme, (url.raw_host or "").lower(), url.port or 0)


BEARER = KeyHeader("authorization", "Bearer ")
