"""A provider that makes its callers work: answers that inflate, that escape every character, that never come.

Any request on loopback is answered by the last part of its path, whatever key it carries; an unknown part is a good
answer.
"""

import asyncio
import gzip
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

from benchmarks.processes import listening

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as Pipe

_MB = 1_000_000
STREAM_BYTES = 20 * _MB
_PIECE = 64 * 1024
_JSON, _GZIPPED = b"application/json", b"application/json\r\ncontent-encoding: gzip"


def bad_provider() -> AbstractContextManager[int]:
    """Run it in a process of its own; gives the port."""
    return listening(_serve)


def _serve(port_to: "Pipe") -> None:
    asyncio.run(_listen(port_to))


async def _listen(port_to: "Pipe") -> None:
    answers = {
        b"ok": _whole(_JSON, b'{"object":"list","data":[]}'),
        b"zeros": _whole(_GZIPPED, gzip.compress(b"0" * 200 * _MB, 1)),
        b"backslashes": _whole(_GZIPPED, gzip.compress(b"\\" * 100 * _MB, 1)),
        b"escapes": _whole(_JSON, b'{"a":"%s"}' % (rb"\u0073" * (9 * _MB // 6))),
        b"stream": _whole(b"application/octet-stream", b"x" * STREAM_BYTES),
    }

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                what = head.split(b" ", 2)[1].rpartition(b"/")[2]
                if what == b"hang":
                    await reader.read()
                    break
                answer = memoryview(answers.get(what, answers[b"ok"]))
                for start in range(0, len(answer), _PIECE):  # a reader that does not read must not fill our memory
                    writer.write(answer[start : start + _PIECE])
                    await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=2048)
    port_to.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _whole(kind: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (kind, len(body), body)
