"""The opening handshake of a WebSocket, as far as it can be judged before the provider is called.

A WebSocket is opened by a GET that offers an upgrade, so it is authenticated, limited and refused like any request; the
server hands the connection over once the answer begins with 101 (`UPGRADE`).
Promises: a service key is read from the subprotocol that browsers put it into, and passed on to no one; so are names of
an account. No extension is agreed on, so nothing is compressed. A connection on which anything followed the request
before its answer is not handed over, because another reader may have taken it for a second request.
Standard: RFC 6455, section 4.2.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Protocol, cast

from starlette.types import Scope
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.http11 import Request
from websockets.server import ServerProtocol

from api.front.problems import HttpError
from api.front.web_socket.pipe import Pipe
from api.front.web_socket.side import SILENT

UPGRADE = "keyledger.upgrade"
"""The name of the server's part in the `extensions` of a scope."""

_KEY_SUBPROTOCOL = "openai-insecure-api-key."
_PASSED_ON = re.compile(r"realtime|openai-beta\.[A-Za-z0-9.-]{1,64}")

Pairs = Iterable[tuple[bytes, bytes]]


class Upgrade(Protocol):
    """The server's part: it hands the connection of a request over."""

    def is_clean(self) -> bool:
        """Whether nothing followed the request yet."""
        ...

    @property
    def pipe(self) -> Pipe:
        """The connection, once an answer with status 101 was sent."""
        ...


def asks_for_web_socket(headers: Pairs) -> bool:
    """Whether a request offers to become a WebSocket."""
    return any(name == b"upgrade" and b"websocket" in value.lower() for name, value in headers)


def keys_in_subprotocols(headers: Pairs) -> set[str]:
    """Return the service keys in the subprotocols that are offered."""
    return {one[len(_KEY_SUBPROTOCOL) :] for one in _offered(headers) if one.lower().startswith(_KEY_SUBPROTOCOL)}


def subprotocols(headers: Pairs) -> Sequence[str]:
    """Return the subprotocols that are offered to the provider, too."""
    return [one for one in _offered(headers) if _PASSED_ON.fullmatch(one)]


def accepted(scope: Scope) -> tuple[Upgrade, list[tuple[bytes, bytes]]]:
    """Return the server's part in a handshake, and the headers of the answer to it, without a subprotocol.

    Raises HttpError.
    """
    upgrade = cast("Upgrade | None", scope.get("extensions", {}).get(UPGRADE))
    if upgrade is None:
        raise _refused("WebSocket connections need a plain HTTP/1.1 request with Connection: Upgrade.")
    if not upgrade.is_clean():
        raise _refused("Nothing may follow the request before it is answered.")
    given = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]])
    request = Request(scope["path"], given, scope["method"], f"HTTP/{scope['http_version']}")
    try:
        accept, _, _ = ServerProtocol(logger=SILENT).process_request(request)
    except InvalidHandshake:
        raise _refused("This is not a WebSocket handshake of version 13 (RFC 6455, section 4.2.1).") from None
    return upgrade, [
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"sec-websocket-accept", accept.encode("ascii")),
    ]


def _offered(headers: Pairs) -> list[str]:
    values = [value.decode("latin-1") for name, value in headers if name == b"sec-websocket-protocol"]
    return [one.strip() for value in values for one in value.split(",") if one.strip()]


def _refused(why: str) -> HttpError:
    return HttpError("upgrade-refused", why)
