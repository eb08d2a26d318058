"""HEAD wherever GET is (RFC 9110 9.3.2): the same way to the same answer, of which the body stays here.

Promises: every part behind this one sees a GET, so no route has to know of HEAD and none can answer it otherwise;
headers leave as GET's do, `Content-Length` included; an answer that would be streamed is ended at its first piece.
What belongs to GET alone looks at `Exchange.bodiless`. A provider's own API gets HEAD as it is.
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
