"""A stand-in for LLM providers on loopback: real HTTP, made-up answers, keys checked, every request recorded.

Implements OpenAI's chat, embeddings and models, Azure's deployment paths, and Anthropic's messages, under any base
path, so one instance can stand in for every provider. For the guided tour and the tests; never part of a service.
Promises: an unknown key, or one in the wrong header, gets 401 with a body that repeats it, as careless servers do;
`requests` holds the requests received, in order; `misbehave` sets how the next requests fail. Binds to 127.0.0.1 only.
Nothing outlives the `with` block.
"""

import asyncio
import re
import threading
from collections.abc import Callable, Container
from types import TracebackType

from scripts.demo.made_up_answers import ANSWERS, JSON, Answer
from scripts.demo.misbehaviour import Failure, Misbehaviour
from scripts.demo.received_request import Received, error_body, expected_key_header, read_request, response_head

__all__ = ["Failure", "Misbehaviour", "Received", "StandInProvider"]

_ROUTE = re.compile(r"/(chat/completions|embeddings|messages|models)$")


class StandInProvider:
    """The server, in its own thread until the `with` block ends.

    accepted: the keys it accepts, or a predicate. key_header: the header it expects them in; by default that of the
    provider whose path is called. url: its base URL, once it runs. misbehave: None for correct responses.
    """

    def __init__(self, accepted: Container[str] | Callable[[str], bool], key_header: str | None = None) -> None:
        """Nothing is started before the `with` block."""
        self.accepted = accepted
        self._key_header = key_header
        self.misbehave: Misbehaviour | None = None
        self.url = ""
        self._requests: list[Received] = []
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="stand-in-provider", daemon=True)

    @property
    def requests(self) -> list[Received]:
        """The requests received so far."""
        with self._lock:
            return list(self._requests)

    def forget(self) -> None:
        """Empty `requests`."""
        with self._lock:
            self._requests.clear()

    def __enter__(self) -> "StandInProvider":
        """Start the server and return this object, with its `url`."""
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the server and close its connections."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=256)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        open_connections = asyncio.all_tasks() - {asyncio.current_task()}
        for task in open_connections:
            task.cancel()
        await asyncio.gather(*open_connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._serve_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return  # the client left, or the server is stopping
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read and answer one request; return whether the connection can carry another."""
        request = await read_request(reader)
        if request is None:
            return False
        with self._lock:
            self._requests.append(request)
        return await self._answer(request, writer)

    async def _answer(self, request: Received, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection can carry another."""
        wrong = self.misbehave
        if wrong is not None and wrong.error in {Failure.HANG, Failure.RESET}:
            if wrong.error is Failure.HANG:
                await self._stop.wait()
            writer.transport.abort()
            return False
        status, headers, body = self._decide(request, wrong)
        if isinstance(body, bytes):
            head = response_head(status, {**headers, "content-length": str(len(body))})
            writer.write(head if request.method == "HEAD" else head + body)
            await writer.drain()
            return True
        writer.write(
            response_head(status, {**headers, "content-type": "text/event-stream", "transfer-encoding": "chunked"})
        )
        for piece in body:
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0)
        if wrong is not None and wrong.error is Failure.CUT:
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def _decide(self, request: Received, wrong: Misbehaviour | None) -> Answer:
        key = request.key or ""
        if wrong is not None and wrong.error is Failure.REDIRECT:
            return 307, {"location": wrong.location}, b""
        if wrong is not None and wrong.error is Failure.STATUS:
            extra = {} if wrong.retry_after is None else {"retry-after": wrong.retry_after}
            return wrong.status, {**JSON, **extra}, error_body(f"status {wrong.status} for {key}")
        if not self._accepts(request):
            return 401, JSON, error_body(f"Incorrect API key provided: {key}")
        if wrong is not None and wrong.error is Failure.NOT_JSON:
            return 200, {"content-type": "text/html"}, f"<p>hello {key}</p>".encode()
        route = _ROUTE.search(request.path)
        if route is None or ("deployments" in request.path and "api-version" not in request.query):
            return 404, JSON, error_body("no such path")
        headers = {"x-seen-key": key} if wrong is not None else {}
        if route[1] != "models" and not isinstance(request.body, dict):
            return 400, JSON, error_body("the body must be a JSON object")
        return ANSWERS[route[1]](request, headers, wrong)

    def _accepts(self, request: Received) -> bool:
        if request.key is None or request.key_header != (self._key_header or expected_key_header(request.path)):
            return False
        return self.accepted(request.key) if callable(self.accepted) else request.key in self.accepted
