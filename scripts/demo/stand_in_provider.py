"""A stand-in for LLM providers on loopback: real HTTP, made-up answers, keys checked, every request recorded.

Speaks OpenAI's chat, embeddings and models, Azure's deployment paths, and Anthropic's messages, under any base path, so
one instance can play every provider. For the guided tour and the tests; never part of a service.
Promises: a key that is not accepted, or that comes in the wrong header, gets 401 with a body that repeats it, as
careless servers do; `requests` holds what arrived, in order; `misbehave` decides how the next requests go wrong.
Binds to 127.0.0.1 only. Nothing survives the `with` block.
"""

import asyncio
import json
import re
import threading
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_ROUTE = re.compile(r"/(chat/completions|embeddings|messages|models)$")
_DEPLOYMENT = re.compile(r"/openai/deployments/[^/]+/")
_SPOILT_EVENT = 3
_ARGUMENTS = ('{"city":', ' "Uppsala"}')

Key = str | None


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived. Header names are lower case; `key_header` is where the key came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    key: Key
    key_header: str | None


class Fault(StrEnum):
    """Ways to go wrong. A hang gives no answer, a reset no response, a cut ends the connection in the middle."""

    STATUS = "status"
    REDIRECT = "redirect"
    HANG = "hang"
    RESET = "reset"
    NOT_JSON = "not-json"
    MID_STREAM_ERROR = "mid-stream-error"
    CUT = "cut"
    ECHO = "echo"


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """How the next requests fail. `status` and `retry_after` belong to STATUS, `location` to REDIRECT.

    MID_STREAM_ERROR, ECHO and every STATUS repeat the caller's key. ECHO does so in header, body and stream of an
    answer that is otherwise right; where it streams, each key is cut in two.
    """

    fault: Fault
    status: int = 500
    retry_after: str | None = None
    location: str = ""


class StandInProvider:
    """The server, in a thread of its own while the `with` block lasts.

    accepted: the keys it takes, or a function that says so. key_header: where it wants them; left out, where the
    provider that it plays wants them.
    """

    def __init__(self, accepted: Container[str] | Callable[[str], bool], key_header: str | None = None) -> None:
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
        """What arrived so far."""
        with self._lock:
            return list(self._requests)

    def forget(self) -> None:
        """Empty `requests`."""
        with self._lock:
            self._requests.clear()

    def __enter__(self) -> "StandInProvider":
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
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
            return  # the peer left, or the server stops
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read and answer one request; say whether another may come. Keeps nothing of it but the record."""
        request = await _read(reader)
        if request is None:
            return False
        with self._lock:
            self._requests.append(request)
        return await self._answer(request, writer)

    async def _answer(self, request: Received, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; say whether the connection stays usable."""
        wrong = self.misbehave
        if wrong is not None and wrong.fault in {Fault.HANG, Fault.RESET}:
            if wrong.fault is Fault.HANG:
                await self._stop.wait()
            writer.transport.abort()
            return False
        status, headers, body = self._decide(request, wrong)
        if isinstance(body, bytes):
            head = _head(status, {**headers, "content-length": str(len(body))})
            writer.write(head if request.method == "HEAD" else head + body)
            await writer.drain()
            return True
        writer.write(_head(status, {**headers, "content-type": "text/event-stream", "transfer-encoding": "chunked"}))
        for piece in body:
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0)
        if wrong is not None and wrong.fault is Fault.CUT:
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def _decide(self, request: Received, wrong: Misbehaviour | None) -> tuple[int, dict[str, str], Any]:
        key = request.key or ""
        if wrong is not None and wrong.fault is Fault.REDIRECT:
            return 307, {"location": wrong.location}, b""
        if wrong is not None and wrong.fault is Fault.STATUS:
            extra = {} if wrong.retry_after is None else {"retry-after": wrong.retry_after}
            return wrong.status, {**_JSON, **extra}, _refusal(f"status {wrong.status} for {key}")
        if not self._accepts(request):
            return 401, _JSON, _refusal(f"Incorrect API key provided: {key}")
        if wrong is not None and wrong.fault is Fault.NOT_JSON:
            return 200, {"content-type": "text/html"}, f"<p>hello {key}</p>".encode()
        route = _ROUTE.search(request.path)
        if route is None or ("deployments" in request.path and "api-version" not in request.query):
            return 404, _JSON, _refusal("no such path")
        headers = {"x-seen-key": key} if wrong is not None else {}
        if route[1] != "models" and not isinstance(request.body, dict):
            return 400, _JSON, _refusal("the body must be a JSON object")
        return _ANSWERS[route[1]](request, headers, wrong)

    def _accepts(self, request: Received) -> bool:
        if request.key is None or request.key_header != (self._key_header or _expected_header(request.path)):
            return False
        return self.accepted(request.key) if callable(self.accepted) else request.key in self.accepted


_JSON = {"content-type": "application/json"}


async def _read(reader: asyncio.StreamReader) -> Received | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    raw = await reader.readexactly(int(headers.get("content-length", "0")))
    url = urlsplit(target)
    key, key_header = _key(headers)
    return Received(method, url.path, dict(parse_qsl(url.query)), headers, _json_of(raw), key, key_header)


def _json_of(raw: bytes) -> Any:
    """Return the JSON that a body is, None where it is none: what a pass-through sends on may be anything."""
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _key(headers: dict[str, str]) -> tuple[Key, str | None]:
    for name in ("x-api-key", "api-key", "authorization"):
        if name in headers:
            return headers[name].removeprefix("Bearer "), name
    return None, None


def _expected_header(path: str) -> str:
    if path.endswith("/messages"):
        return "x-api-key"
    return "api-key" if _DEPLOYMENT.search(path) else "authorization"


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Answer\r\n{lines}\r\n".encode("latin-1")


def _refusal(message: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": "refused", "message": message, "code": "refused"}}).encode()


def _chat(request: Received, headers: dict[str, str], wrong: Misbehaviour | None) -> tuple[int, dict[str, str], Any]:
    body, text = request.body, _text(request, wrong)
    with_tools = bool(body.get("tools"))
    shared = {"id": "chatcmpl-1", "created": 1, "model": body.get("model", "deployed")}
    if body.get("stream"):
        return 200, headers, _wrapped(request, wrong, _chat_events(body, shared, text, with_tools=with_tools))
    message: dict[str, Any] = {"role": "assistant", "content": None if with_tools else text}
    if with_tools:
        message["tool_calls"] = [_tool_call(body, "".join(_ARGUMENTS))]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if with_tools else "stop"}
    answer = {**shared, "object": "chat.completion", "choices": [choice], "usage": _USAGE}
    return 200, {**_JSON, **headers}, json.dumps(answer).encode()


_USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def _tool_call(body: dict[str, Any], arguments: str) -> dict[str, Any]:
    name = body["tools"][0]["function"]["name"]
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


def _chat_events(body: dict[str, Any], shared: dict[str, Any], text: str, *, with_tools: bool) -> Iterator[bytes]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None if with_tools else ""}]
    if with_tools:
        deltas.append({"tool_calls": [{"index": 0, **_tool_call(body, _ARGUMENTS[0])}]})
        deltas.append({"tool_calls": [{"index": 0, "function": {"arguments": _ARGUMENTS[1]}}]})
    else:
        deltas += [{"content": word} for word in re.findall(r"\S+\s*", text)]
    for delta in deltas:
        yield _event({**shared, "object": "chat.completion.chunk", "choices": [_choice(delta, None)]})
    last = _choice({}, "tool_calls" if with_tools else "stop")
    yield _event({**shared, "object": "chat.completion.chunk", "choices": [last]})
    if (body.get("stream_options") or {}).get("include_usage"):
        yield _event({**shared, "object": "chat.completion.chunk", "choices": [], "usage": _USAGE})
    yield b"data: [DONE]\n\n"


def _choice(delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


def _messages(
    request: Received, headers: dict[str, str], wrong: Misbehaviour | None
) -> tuple[int, dict[str, str], Any]:
    body, text = request.body, _text(request, wrong)
    block: dict[str, Any] = {"type": "text", "text": text}
    if body.get("tools"):
        name = body["tools"][0]["name"]
        block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": json.loads("".join(_ARGUMENTS))}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [block],
        "stop_reason": "tool_use" if body.get("tools") else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 7},
    }
    if body.get("stream"):
        return 200, headers, _wrapped(request, wrong, _message_events(message, block))
    return 200, {**_JSON, **headers}, json.dumps(message).encode()


def _message_events(message: dict[str, Any], block: dict[str, Any]) -> Iterator[bytes]:
    start = {**message, "content": [], "stop_reason": None, "usage": {"input_tokens": 5, "output_tokens": 1}}
    yield _named_event("message_start", message=start)
    if block["type"] == "tool_use":
        opened, deltas = {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": a} for a in _ARGUMENTS]
    else:
        words = re.findall(r"\S+\s*", block["text"])
        opened, deltas = {"type": "text", "text": ""}, [{"type": "text_delta", "text": word} for word in words]
    yield _named_event("content_block_start", index=0, content_block=opened)
    for delta in deltas:
        yield _named_event("content_block_delta", index=0, delta=delta)
    yield _named_event("content_block_stop", index=0)
    ending = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield _named_event("message_delta", delta=ending, usage={"output_tokens": 7})
    yield _named_event("message_stop")


def _embeddings(
    request: Received, headers: dict[str, str], wrong: Misbehaviour | None
) -> tuple[int, dict[str, str], Any]:
    given = request.body["input"]
    count = len(given) if isinstance(given, list) and given and not isinstance(given[0], int) else 1
    # Floats even where base64 was asked for: clients take both, and the numbers stay readable.
    data = [{"object": "embedding", "index": i, "embedding": [0.25, -0.5, float(i)]} for i in range(count)]
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    answer = {"object": "list", "model": request.body.get("model", "deployed"), "data": data, "usage": usage}
    return 200, {**_JSON, **headers}, json.dumps(answer).encode()


def _models(request: Received, headers: dict[str, str], wrong: Misbehaviour | None) -> tuple[int, dict[str, str], Any]:
    models = [{"id": "stand-in", "object": "model", "created": 1, "owned_by": "stand-in"}]
    return 200, {**_JSON, **headers}, json.dumps({"object": "list", "data": models}).encode()


_ANSWERS: dict[str, Callable[[Received, dict[str, str], Misbehaviour | None], tuple[int, dict[str, str], Any]]] = {
    "chat/completions": _chat,
    "messages": _messages,
    "embeddings": _embeddings,
    "models": _models,
}


def _text(request: Received, wrong: Misbehaviour | None) -> str:
    """Return what the model says; it repeats the key only where it was told to misbehave."""
    if wrong is not None and wrong.fault is Fault.ECHO:
        return f"your key is {request.key} indeed"
    return f"Hello from {request.body.get('model', 'the deployment')}"


def _wrapped(request: Received, wrong: Misbehaviour | None, events: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the events of a stream, spoilt as asked."""
    key = (request.key or "").encode()
    for number, event in enumerate(events):
        if number == _SPOILT_EVENT and wrong is not None and wrong.fault is Fault.CUT:
            return
        if number == _SPOILT_EVENT and wrong is not None and wrong.fault is Fault.MID_STREAM_ERROR:
            name = b"event: error\n" if request.path.endswith("/messages") else b""
            yield name + b"data: " + _refusal(key.decode()) + b"\n\n"
            return
        at = event.find(key) if wrong is not None and key else -1
        if at >= 0:
            yield event[: at + 7]
            yield event[at + 7 :]
        else:
            yield event


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def _named_event(kind: str, **content: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **content})}\n\n".encode()
