"""Calls in a provider's own API, in the domain's words: what goes in, what comes out, who does it.

Bodies and paths are the provider's; nothing of them is translated. The path is one that `native_path` passed.
"""

from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from domain.credentials.resolution import Receipt

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, each with its value, as often as it came."""


@dataclass(frozen=True, slots=True)
class NativeCall:
    """One request, as a caller meant it for the provider.

    path: normalised, without a slash at its beginning. query: as it came, without the question mark.
    body: whole where it is short, else in pieces that can be read once. length: its bytes, None where nobody said.
    """

    tenant_id: str
    provider: str
    method: str
    path: str
    query: str = ""
    headers: Headers = ()
    body: bytes | AsyncIterable[bytes] = field(default=b"", repr=False)
    length: int | None = None


class Pieces(Protocol):
    """What is still to come of an answer."""

    async def next(self) -> bytes | None:
        """Return the next piece, None after the last. Raises a ServiceError where the provider fails midway."""
        ...

    def drop(self) -> None:
        """End the connection of an answer that is not wanted any more. Does nothing after the end."""
        ...


@dataclass(frozen=True, slots=True)
class NativeAnswer:
    """What the provider answered: its status, whatever it is, and the headers that a caller may see.

    whole: the body, where all of it is there already; then there are no pieces.
    """

    receipt: Receipt
    status: int
    headers: Headers
    whole: bytes | None = field(repr=False)
    pieces: Pieces | None = field(repr=False)


class NativeApis(Protocol):
    """Calls providers as a tenant, in their own words."""

    async def call(self, call: NativeCall) -> NativeAnswer:
        """Send one request with the key that is resolved for it at this moment.

        Raises NotFoundError, InvalidRequestError, what resolution raises, RejectedCredentialError for a provider's
        401, and ProviderTimeoutError or ProviderUnavailableError where there is no answer to pass on, of which a
        redirect is one.
        """
        ...
