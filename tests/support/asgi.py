"""A client of an application in this process: no network, one event loop for all applications.

Starlette's own client changes threads ten times for each request, because it passes an answer on piece by piece, and
takes a millisecond of processor time. Here the answer is whole when the request returns: a fifth of that. As there, the
client is httpx2's: tests read what the httpx of the program logs.
"""

import asyncio
import atexit
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import unquote

import httpx2
from starlette.types import ASGIApp, Message

Address = tuple[str, int]


def client_on(
    app: ASGIApp,
    headers: Mapping[str, str] | None = None,
    client: Address = ("testclient", 50_000),
    root_path: str = "",
) -> httpx2.Client:
    """Return a client of the application. What the application raises, the request raises; an answer may break off.

    headers: of each request. client: the address of the client. root_path: as a server would set it.
    """
    return httpx2.Client(
        transport=_Transport(app, client, root_path),
        base_url="http://testserver",
        headers={"user-agent": "testclient", **(headers or {})},
        follow_redirects=True,
    )


class _Transport(httpx2.BaseTransport):
    def __init__(self, app: ASGIApp, client: Address, root_path: str) -> None:
        self._app = app
        self._client = client
        self._root_path = root_path

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        exchange = _Exchange(self._scope(request), request.read())
        asyncio.run_coroutine_threadsafe(exchange.run(self._app), _loop()).result()
        begin, *pieces = exchange.sent
        content = b"" if request.method == "HEAD" else b"".join(one.get("body", b"") for one in pieces)
        return httpx2.Response(begin["status"], headers=list(begin["headers"]), stream=httpx2.ByteStream(content))

    def _scope(self, request: httpx2.Request) -> dict[str, Any]:
        url = request.url
        return {
            "type": "http",
            "http_version": "1.1",
            "method": request.method,
            "path": unquote(url.path),
            "raw_path": url.raw_path.partition(b"?")[0],
            "root_path": self._root_path,
            "scheme": url.scheme,
            "query_string": url.query,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": self._client,
            "server": [url.host, url.port or 80],
            "state": {},
        }


class _Exchange:
    """One request and what is sent for it."""

    def __init__(self, scope: dict[str, Any], body: bytes) -> None:
        self._scope = scope
        self._body: bytes | None = body
        self._over = asyncio.Event()
        self.sent: list[Message] = []

    async def run(self, app: ASGIApp) -> None:
        await app(self._scope, self._receive, self._send)
        assert self.sent, "no answer began"

    async def _receive(self) -> Message:
        if self._body is None:
            await self._over.wait()
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body}

    async def _send(self, message: Message) -> None:
        begins = message["type"] == "http.response.start"
        assert begins is not bool(self.sent), "an answer begins once"
        assert not self._over.is_set(), "the answer is complete"
        self.sent.append(message)
        if not begins and not message.get("more_body", False):
            self._over.set()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="applications of tests", daemon=True)
    thread.start()

    def end() -> None:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    atexit.register(end)
    return loop
