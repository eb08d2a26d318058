"""A provider on raw sockets that a test can make misbehave at any point of an exchange, recording what each connection
carried.

Each request names a mark, in its `x-mark` header or as the first message of a chat, and the answer repeats it: a caller
that receives another mark has received another call's answer.
"""

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from tests.support.loopback import serving

_KEY = re.compile(rb"(?i)\r\nauthorization: bearer (\S+)")
_MARK = re.compile(rb"(?i)\r\nx-mark: (\S+)")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")


@dataclass
class Asked:
    """One request: its head, and its body as far as it was read."""

    head: bytes
    body: bytes = b""

    @property
    def mark(self) -> str:
        return _found(_MARK, self.head) or str(json.loads(self.body)["messages"][0]["content"] if self.body else "")

    @property
    def key(self) -> str:
        return _found(_KEY, self.head)

    @property
    def length(self) -> int:
        return int(_found(_LENGTH, self.head) or 0)


@dataclass(eq=False)
class Line:
    """One connection, as the provider has it. gone: set when the caller has closed it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    keys: set[str] = field(default_factory=set)
    asked: list[Asked] = field(default_factory=list)

    def send(self, *texts: bytes) -> None:
        """Send texts in one segment."""
        self.writer.write(b"".join(texts))

    async def ended(self) -> None:
        """Wait until the caller has closed the connection."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass


Misbehaviour = Callable[[Line, Asked], Awaitable[None]]
"""Answers one request, in place of the usual answer. The connection ends with it unless it returns while it is open."""


@dataclass
class ScriptedProvider:
    """The server. misbehave: answers the next request whose mark is `evil`. greeting: sent on each new connection."""

    url: str = ""
    misbehave: Misbehaviour | None = None
    greeting: bytes = b""
    lines: list[Line] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer)
        self.lines.append(line)
        line.send(self.greeting)
        try:
            while True:
                asked = Asked(await reader.readuntil(b"\r\n\r\n"))
                line.asked.append(asked)
                line.keys.add(asked.key)
                if _found(_MARK, asked.head) == "evil" and self.misbehave is not None:
                    await self.misbehave(line, asked)
                    continue
                asked.body = await reader.readexactly(asked.length)
                line.send(answer_to(asked.mark))
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, asyncio.LimitOverrunError):
            pass
        finally:  # also where the loop ends before the end of the connection was read
            line.gone.set()
            writer.close()

    @property
    def keys_of_lines(self) -> list[set[str]]:
        """The keys that each connection carried."""
        return [line.keys for line in self.lines if line.asked]


def answer_to(mark: str, *headers: str) -> bytes:
    """Return the proper answer to a request."""
    said = {"index": 0, "message": {"role": "assistant", "content": mark}, "finish_reason": "stop"}
    body = json.dumps({"mark": mark, "object": "chat.completion", "choices": [said]}).encode()
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def scripted_provider() -> AsyncIterator[ScriptedProvider]:
    """Serve on the running loop while the block lasts."""
    provider = ScriptedProvider()
    async with serving(provider.serve) as port:
        provider.url = f"http://127.0.0.1:{port}"
        yield provider


@contextmanager
def provider_in_a_thread() -> Iterator[ScriptedProvider]:
    """Serve in a thread of its own while the block lasts."""
    started: Future[ScriptedProvider] = Future()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def run() -> None:
        async with scripted_provider() as provider:
            started.set_result(provider)
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    try:
        yield started.result(60)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()


def _found(pattern: re.Pattern[bytes], head: bytes) -> str:
    found = pattern.search(head)
    return found[1].decode() if found else ""
