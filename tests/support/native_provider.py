"""A provider whose answers a test writes, on loopback: real HTTP, in a thread of its own, recording what arrives."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tests.support.loopback import until_accepted
from tests.support.looped import looped

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Heard:
    """One request. `target` is the path and query as they were sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = field(repr=False, default=b"")


@dataclass
class NativeProvider:
    """The server. `answer` is what a test sets; `read` whether the body is read before."""

    url: str = ""
    answer: Handler = field(default=lambda request: _hello(request))
    read: bool = True
    heard: list[Heard] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        heard = Heard(request.method, request.raw_path, {k.lower(): v for k, v in request.headers.items()})
        self.heard.append(heard)
        try:
            if self.read:
                heard.body = await request.read()
            return await self.answer(request)
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise


async def _hello(request: web.Request) -> web.StreamResponse:
    return web.json_response({"hello": "world"})


@contextmanager
def native_provider() -> Iterator[NativeProvider]:
    """Serve while the block lasts."""
    provider = NativeProvider()

    async def run(ready: Callable[[], None], stop: asyncio.Event) -> None:
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{tail:.*}", provider.serve)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready()
        await stop.wait()
        await until_accepted()
        connections = [handler.transport for handler in runner.server.connections] if runner.server else []
        await runner.cleanup()
        for connection in filter(None, connections):
            connection.abort()  # closing waits for a client that no longer reads what is left to be sent
        await asyncio.sleep(0)

    with looped(run):
        yield provider
