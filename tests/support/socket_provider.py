"""A provider with WebSockets, on loopback: a library speaks the protocol, a test writes the conversation."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.support.looped import looped

Talk = Callable[[ServerConnection], Awaitable[None]]
Answer = Callable[[ServerConnection, Request], Response | None]


@dataclass
class Opened:
    """One handshake, accepted or not. closed: code and reason with which this side was closed, once it was."""

    target: str
    headers: dict[str, str]
    closed: tuple[int | None, str | None] | None = None
    ended: threading.Event = field(default_factory=threading.Event)


@dataclass
class SocketProvider:
    """The server. talk: what it says. answer: its answer to a handshake; None opens the socket."""

    url: str = ""
    talk: Talk = field(default=lambda connection: echo(connection))
    answer: Answer = field(default=lambda connection, request: None)
    opened: list[Opened] = field(default_factory=list)
    of_connection: dict[ServerConnection, Opened] = field(default_factory=dict)

    def shake(self, connection: ServerConnection, request: Request) -> Response | None:
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        self.of_connection[connection] = this = Opened(request.path, headers)
        self.opened.append(this)
        return self.answer(connection, request)

    async def serve(self, connection: ServerConnection) -> None:
        this = self.of_connection[connection]
        try:
            with contextlib.suppress(ConnectionClosed):
                await self.talk(connection)
            await connection.close()
        finally:
            this.closed = (connection.protocol.close_code, connection.protocol.close_reason)
            this.ended.set()

    def forget(self) -> None:
        self.opened.clear()
        self.talk, self.answer = echo, lambda connection, request: None


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@contextmanager
def socket_provider() -> Iterator[SocketProvider]:
    """Serve while the block lasts."""
    provider = SocketProvider()

    async def run(ready: Callable[[], None], stop: asyncio.Event) -> None:
        server = await serve(
            provider.serve,
            "127.0.0.1",
            0,
            process_request=provider.shake,
            select_subprotocol=lambda connection, offered: next((one for one in offered if one == "realtime"), None),
            max_size=None,
            ping_interval=None,
        )
        provider.url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        ready()
        await stop.wait()
        server.close()
        await server.wait_closed()

    with looped(run):
        yield provider
