"""A TCP server on the running loop whose connections end with it, read to their end or not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serve, **options: Any) -> AsyncIterator[int]:
    """Listen on loopback while the block lasts; the value is the port. `options` go to `asyncio.start_server`."""
    connections: list[asyncio.WriteTransport] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer.transport)
        await serve(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        for listening in server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())  # so that nothing more is accepted meanwhile
        await until_accepted()
        server.close()
        for connection in connections:
            connection.abort()  # `close` would wait for a client that no longer reads what is left to be sent
        await asyncio.sleep(0)


async def until_accepted() -> None:
    """Let the loop finish what it is accepting: it forgets to close a connection whose server closes meanwhile."""
    for _ in range(5):
        await asyncio.sleep(0)
