"""A TCP proxy on loopback that behaves like a bad network, for connections that exist and for new ones.

Promises: `behave` takes effect at once, also on connections that are open. `clear` makes the network good again and
ends every connection, as a router does that has forgotten them. Bytes are never changed or reordered.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any

_PIECE = 64 * 1024
_LATENCY_S = 0.1
_DRIP_S = 1.0


class Network(Enum):
    """How the network is. HALF_OPEN: nothing arrives any more, and no one learns of it. ONE_WAY: answers are lost."""

    GOOD = "good"
    LATENCY = "100 ms of latency"
    CUT = "cut"
    HALF_OPEN = "half-open"
    ONE_WAY = "one-way"
    DRIP = "one byte a second"


class Proxy:
    """One proxy in front of one address, in a thread of its own. port: where it listens."""

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self._target = (host, port)
        self._network = Network.GOOD
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), daemon=True)

    def behave(self, network: Network) -> None:
        """Make the network so until `clear`."""
        self._network = network
        if network is Network.CUT:
            self._loop.call_soon_threadsafe(self._abort)

    def clear(self) -> None:
        """Make the network good."""
        self.behave(Network.GOOD)
        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _run(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        self._abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._network is Network.CUT:
            writer.transport.abort()
            return
        with suppress(OSError, asyncio.CancelledError):
            there, back = await asyncio.open_connection(*self._target)
            both: list[Coroutine[Any, Any, None]] = [self._pass(reader, back), self._pass(there, writer, answers=True)]
            self._open |= {writer, back}
            await asyncio.gather(*both)
            self._open -= {writer, back}
        writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False) -> None:
        with suppress(OSError):
            while piece := await reader.read(_PIECE):
                await self._deliver(piece, writer, answers)
        writer.close()

    async def _deliver(self, piece: bytes, writer: asyncio.StreamWriter, answers: bool) -> None:
        network = self._network
        if network is Network.HALF_OPEN or (network is Network.ONE_WAY and answers):
            return
        if network is Network.LATENCY:
            await asyncio.sleep(_LATENCY_S)
        sent = 0
        while self._network is Network.DRIP and sent < len(piece):
            writer.write(piece[sent : sent + 1])
            sent += 1
            await asyncio.sleep(_DRIP_S)
        writer.write(piece[sent:])
        await writer.drain()


@contextmanager
def proxy(host: str, port: int) -> Iterator[Proxy]:
    """Run a proxy while the block lasts."""
    made = Proxy(host, port)
    made._thread.start()
    assert made._ready.wait(30)
    try:
        yield made
    finally:
        made._loop.call_soon_threadsafe(made._stop.set)
        made._thread.join(30)
        made._loop.close()
