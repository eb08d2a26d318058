"""Hands the connection of a request over to the application, which from then on speaks another protocol on it.

The application finds an `Upgrade` in the extensions of a request that offers a WebSocket. It begins the answer with
status 101, and receives the connection as a `Pipe`; every other answer is HTTP as usual.
Promises: nothing but the head of the answer precedes what the application sends. A connection on which anything
followed the request is not handed over.
"""

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

from api.front.problems import HttpError
from api.front.web_socket.handshake import UPGRADE
from api.front.web_socket.pipe import Pipe

_SWITCHING = 101


class Upgrading:
    """The way of one request to another protocol. Implements `api.front.web_socket.handshake.Upgrade`."""

    def __init__(self, cycle: RequestResponseCycle, is_clean: Callable[[], bool], take: Callable[[], Pipe]) -> None:
        """is_clean: returns whether nothing followed the request. take: hands the connection over."""
        self._cycle = cycle
        self.is_clean = is_clean
        self._take = take
        self._pipe: Pipe | None = None
        extensions: dict[str, Any] = cycle.scope.setdefault("extensions", {})
        extensions[UPGRADE] = self

    @property
    def pipe(self) -> Pipe:
        """The connection. Raises RuntimeError before it was handed over."""
        if self._pipe is None:
            raise RuntimeError("the connection has not been handed over")
        return self._pipe

    def around(self, app: Any) -> Any:
        """Return the application with a `send` that hands the connection over."""

        async def upgrading(scope: Any, receive: Any, send: Any) -> None:
            async def switching(message: Any) -> None:
                if message["type"] == "http.response.start" and message["status"] == _SWITCHING:
                    self._switch(message["headers"])
                else:
                    await send(message)

            try:
                await app(scope, receive, switching)
            finally:
                if self._pipe is not None:
                    self._pipe.close()
                    self._cycle.response_complete = True

        return upgrading

    def _switch(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the head of the answer, and take the connection. Raises HttpError."""
        if self._cycle.disconnected or not self.is_clean():
            raise HttpError("upgrade-refused", "Nothing may follow the request before it is answered.")
        lines = [STATUS_LINE[_SWITCHING]]
        for name, value in [*self._cycle.default_headers, *headers]:
            if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
                raise RuntimeError("a header of the answer is not valid")
            lines.append(name + b": " + value + b"\r\n")
        self._cycle.response_started = True
        self._pipe = self._take()
        self._pipe.write_soon(b"".join(lines) + b"\r\n")
