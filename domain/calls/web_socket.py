"""WebSockets of providers' own APIs: messages, how a side ends, and the contract of the provider's side.

Messages are the provider's and are not translated. Standard: RFC 6455.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from domain.calls.native import Headers
from domain.credentials.resolution import Receipt
from domain.errors import AccessError, ErrorCode

MESSAGE_MAX = 16 * 1024 * 1024
"""Bytes in one message: more than the 15 MiB of audio that OpenAI takes in one."""

GOING_AWAY, POLICY, TRY_AGAIN, BAD_GATEWAY = 1001, 1008, 1013, 1014
"""Codes with which this service closes. The first also ends a side whose other side has left."""
_SENT = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})


@dataclass(frozen=True, slots=True)
class Message:
    """One whole message. text: it is UTF-8."""

    data: bytes = field(repr=False)
    text: bool


@dataclass(frozen=True, slots=True)
class Ending:
    """How a side ended. code, reason: of its close frame; code None: the frame had none.

    broken: a code, for a side that ended without a close frame, or broke a rule of the protocol.
    """

    code: int | None = None
    reason: str = field(default="", repr=False)
    broken: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """The part of a caller's handshake that reaches the provider.

    subprotocols: in the order of preference. held: called with the number of bytes of the provider's messages that are
    held now; may raise an error.
    """

    subprotocols: Sequence[str] = ()
    held: Callable[[int], None] = lambda size: None


class ProviderSocket(Protocol):
    """An open WebSocket of a provider, as far as the caller may see it: without the key.

    headers: of the answer to the handshake. subprotocol: that the provider chose. ending: once it has ended.
    """

    @property
    def receipt(self) -> Receipt:
        """The credential that opened it."""
        ...

    @property
    def headers(self) -> Headers:
        """The headers that the caller may see."""
        ...

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol in use."""
        ...

    @property
    def ending(self) -> Ending | None:
        """How the provider's side ended."""
        ...

    async def next(self) -> Message | None:
        """Return the next message; None once the provider's side has ended."""
        ...

    async def send(self, message: Message) -> None:
        """Send a message. Returns once the provider has taken most of what waits for it."""
        ...

    async def outdated(self) -> str | None:
        """Return a code once the credential that opened it would not open it again; None while it would."""
        ...

    def close(self, code: int | None, reason: str = "") -> None:
        """Close it, and count the call. Only the first time has an effect."""
        ...


def uncounted() -> AccessError:
    """Return the error for a caller with budgets: what a WebSocket uses is not counted."""
    detail = "This access key has budgets, and the tokens of WebSockets are not counted. Use a key without budgets."
    return AccessError(ErrorCode.OUTSIDE_SCOPE, detail)


def sendable(ending: Ending) -> tuple[int | None, str]:
    """Return the close code and reason with which a side's end is passed on.

    A code that must not be sent (RFC 6455, section 7.4.1) is left out, with its reason.
    """
    return (ending.code, ending.reason) if ending.code in _SENT else (None, "")
