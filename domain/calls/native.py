"""Calls in a provider's own API: the request, the answer, and the contract of the part that makes the call.

Bodies and paths are the provider's and are not translated. Paths have been normalised by `native_path`.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from domain.calls.call_admission import CallAdmission
from domain.credentials.resolution import Receipt

if TYPE_CHECKING:
    from domain.calls.web_socket import Offer, ProviderSocket

Headers = Sequence[tuple[bytes, bytes]]
"""Pairs of a name in lower case and a value. A name may occur more than once."""


BODILESS_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
"""Methods whose requests have no body. A server that ignores such a body takes it for the next request on the
connection (RFC 9110, section 9.3.1), and no provider documents one."""


class Body(Protocol):
    """A long body, to be read once: in pieces as they arrive, or whole."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return an iterator over the pieces. Raises the error of a body that stalls or ends early."""
        ...

    async def whole(self) -> bytes:
        """Return the whole body. Raises the error of a body that is longer than one that is held in memory may be."""
        ...


@dataclass(frozen=True, slots=True)
class NativeCall:
    """One request for the provider.

    path: normalised, without a leading slash. query: as received, without the question mark.
    body: complete if it is short, otherwise to be read once. length: of the body in bytes, None if the
    caller did not state it. admission: of a caller with an access key.
    """

    tenant_id: str
    provider: str
    method: str
    path: str
    query: str = ""
    headers: Headers = ()
    body: bytes | Body = field(default=b"", repr=False)
    length: int | None = None
    admission: CallAdmission | None = None


class Pieces(Protocol):
    """The part of an answer that has not been received yet."""

    async def next(self) -> bytes | None:
        """Return the next piece, or None after the last. Raises a ServiceError when the provider fails midway."""
        ...

    def drop(self) -> None:
        """Close the connection of an answer that is no longer needed. Has no effect after the last piece."""
        ...


@dataclass(frozen=True, slots=True)
class NativeAnswer:
    """The provider's answer, with any status, and the headers that the caller may see.

    whole: the body, if all of it has been received; otherwise None, and the body comes in `pieces`. events: the body is
    a stream of events to which an error can be added.
    """

    receipt: Receipt
    status: int
    headers: Headers
    whole: bytes | None = field(repr=False)
    pieces: Pieces | None = field(repr=False)
    events: bool = False


class NativeApis(Protocol):
    """Calls providers' own APIs on behalf of a tenant."""

    async def call(self, call: NativeCall) -> NativeAnswer:
        """Resolve the key for one request and send it.

        Raises NotFoundError, InvalidRequestError, the errors of resolution, RejectedCredentialError when the provider
        answers 401, and ProviderUnavailableError when there is no answer to pass on. A redirect
        is not passed on.
        """
        ...

    async def connect(self, call: NativeCall, offer: "Offer") -> "NativeAnswer | ProviderSocket":
        """Resolve the key for one WebSocket and open it; return the provider's answer where it refuses.

        Raises what `call` raises, and HttpError for a path where the provider has none.
        """
        ...
