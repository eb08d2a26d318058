"""A provider that answers at once, in OpenAI's form, plain and streaming: what is left is the time of who asked it.

Any POST on loopback is answered the same, whatever key it carries; a stream comes as `CHUNKS` events in one write.
"""

import asyncio
import json
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from benchmarks.processes import listening

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as Pipe

CHUNKS = 20
_USAGE = {"prompt_tokens": 9, "completion_tokens": CHUNKS, "total_tokens": 9 + CHUNKS}
_COMMON = {"id": "chatcmpl-benchmark", "created": 1_767_225_600, "model": "gpt-4o"}


def provider() -> AbstractContextManager[int]:
    """Run it in a process of its own; gives the port."""
    return listening(_serve)


def _serve(port_to: "Pipe") -> None:
    import uvloop

    uvloop.run(_listen(port_to))


async def _listen(port_to: "Pipe") -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    port_to.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # a TCP connection

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (body := self._whole_body()) is not None:
            streams = b'"stream":true' in body or b'"stream": true' in body
            self._transport.write(_STREAMED if streams else _PLAIN)

    def _whole_body(self) -> bytes | None:
        head = self._received.find(b"\r\n\r\n")
        if head < 0:
            return None
        fields = self._received[:head].lower()
        begin = head + 4
        if b"\r\ntransfer-encoding: chunked" in fields:
            end = self._received.find(b"0\r\n\r\n", begin)
            if end < 0:
                return None
            end += 5
        else:
            at = fields.find(b"\r\ncontent-length:")
            line = fields.find(b"\r\n", at + 2)
            end = begin + (int(fields[at + 17 : line if line >= 0 else None]) if at >= 0 else 0)
            if len(self._received) < end:
                return None
        body, self._received = self._received[begin:end], self._received[end:]
        return body


def _plain() -> bytes:
    message = {"role": "assistant", "content": "word " * CHUNKS}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps(_COMMON | {"object": "chat.completion", "choices": [choice], "usage": _USAGE}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def _streamed() -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    pieces = []
    for nth in range(CHUNKS):
        delta = {"role": "assistant", "content": "word "} if nth == 0 else {"content": "word "}
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        pieces.append(_COMMON | {"object": "chat.completion.chunk", "choices": [choice]})
    pieces.append(
        _COMMON | {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    )
    events = [b"data: %s\n\n" % json.dumps(piece).encode() for piece in pieces] + [b"data: [DONE]\n\n"]
    return head + b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n"


_PLAIN, _STREAMED = _plain(), _streamed()
