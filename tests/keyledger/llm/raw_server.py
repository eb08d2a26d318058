"""A server on the running loop that answers every request with the same bytes, as no decent provider would."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.loopback import serving

STREAM = "text/event-stream"


@asynccontextmanager
async def answering(body: bytes, media_type: str = "application/json", status: str = "200 OK") -> AsyncIterator[str]:
    """Serve while the block lasts; the value is the server's URL. status: may be followed by headers."""
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head.encode() + body)
            await writer.drain()
        except ConnectionError:
            return  # the client has seen enough
        finally:
            writer.close()

    async with serving(serve, limit=2**24) as port:
        yield f"http://127.0.0.1:{port}"
