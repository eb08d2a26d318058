"""HEAD wherever there is GET (RFC 9110 9.3.2): the same request handling, with the body dropped here.

Promises: every layer behind this one sees a GET, so no route has to handle HEAD and none can answer it differently;
headers are those of GET, `Content-Length` included; a streamed answer ends at its first piece. Code that must run for
GET only checks `Exchange.bodiless`. HEAD requests to a provider's own API pass through unchanged.
"""

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.front.paths import is_native, routed_path


class Head:
    """ASGI middleware between the envelope, which logs the method that was sent, and everything that answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or is_native(routed_path(scope)):
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
                return
            await send({"type": "http.response.body", "body": b""})
            if message.get("more_body", False):
                raise ClientDisconnect  # nothing more of this answer would be sent

        try:
            await self._app({**scope, "method": "GET"}, receive, without_body)
        except ClientDisconnect:
            return


def with_head(methods: set[str]) -> set[str]:
    """Return the methods of an address with HEAD, where there is GET."""
    return methods | {"HEAD"} if "GET" in methods else methods
