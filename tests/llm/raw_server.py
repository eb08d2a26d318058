"""A server on the running loop that answers every request with the same bytes, as no decent provider would."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

STREAM = "text/event-stream"


@asynccontextmanager
async def answering(body: bytes, media_type: str = "application/json") -> AsyncIterator[str]:
    """Serve while the block lasts; the value is the server's URL."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head.encode() + body)
            await writer.drain()
        except ConnectionError:
            return  # the client has seen enough
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**24)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
