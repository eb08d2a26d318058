"""The load on HTTP servers: the same for every contestant, and leaner than any of them.

A process of its own with one bare connection for each client; a client sends its next request when the answer to the
last one is whole. Nothing is parsed but where an answer ends.
Refuses: an answer other than 2xx. It ends the measurement, with the beginning of that answer.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.frame import Measured, UnusableError, apart, measured

TENANT = "00000000-0000-4000-8000-%012x"
"""Tenants by number, as `stored.tenant` makes them."""

_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is sent again and again.

    `{tenant}` in path and body becomes one of `tenants` tenants, others for each client; `{nth}` a number that never
    comes twice.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    tenants: int = 1

    def text(self, client: int, clients: int, nth: int) -> bytes:
        """Return the request number `nth` of a client."""
        tenant = TENANT % (1 + (client + clients * nth) % max(self.tenants, clients))
        number = f"{client:04}-{nth:08}"
        path = self.path.replace("{tenant}", tenant)
        body = self.body.replace("{tenant}", tenant).replace("{nth}", number).encode()
        lines = [f"{self.method} {path} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body


def drive(port: int, call: Call, clients: int, seconds: float, warm_up: float) -> Measured:
    """Send `call` from so many clients for so long, after a warm-up. Raises UnusableError."""
    return apart(_drive, port, call, clients, seconds, warm_up)


def send_calls(port: int, call: Call, clients: int, count: int) -> int:
    """Send so many calls, as many from each client, and return how many were answered. Raises UnusableError."""
    return apart(_send_calls, port, call, clients, count)


def _drive(port: int, call: Call, clients: int, seconds: float, warm_up: float) -> Measured:
    begin = time.perf_counter() + warm_up
    until = begin + seconds
    took = _run(port, call, clients, lambda _: time.perf_counter() < until)
    return measured([end - start for start, end in took if end >= begin and end <= until], seconds)


def _send_calls(port: int, call: Call, clients: int, count: int) -> int:
    each = max(1, count // clients)
    return len(_run(port, call, clients, lambda nth: nth < each))


def _run(port: int, call: Call, clients: int, goes_on: Callable[[int], bool]) -> list[tuple[float, float]]:
    import uvloop

    return uvloop.run(_all(port, call, clients, goes_on))


async def _all(port: int, call: Call, clients: int, goes_on: Callable[[int], bool]) -> list[tuple[float, float]]:
    loop = asyncio.get_running_loop()
    offset = time.time_ns() % 10_000_000  # so that a later run does not say what an earlier one said
    running = [_Client(call, number, clients, offset, goes_on, loop.create_future()) for number in range(clients)]
    try:
        for client in running:
            await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
    except OSError:
        raise UnusableError(f"nothing listens on port {port}") from None
    done, _ = await asyncio.wait([client.ended for client in running], return_when=asyncio.FIRST_EXCEPTION)
    for ended in done:
        ended.result()
    return [one for client in running for one in client.took]


class _Client(asyncio.Protocol):
    """One connection. `took`: when each request was sent and when its answer was whole."""

    def __init__(
        self,
        call: Call,
        number: int,
        clients: int,
        offset: int,
        goes_on: Callable[[int], bool],
        ended: "asyncio.Future[None]",
    ) -> None:
        self.took: list[tuple[float, float]] = []
        self.ended = ended
        self._call, self._number, self._clients, self._offset, self._goes_on = call, number, clients, offset, goes_on
        self._nth = 0
        self._answer = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # a TCP connection
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not _is_whole(self._answer):
            return
        now = time.perf_counter()
        if self._answer[9:10] != b"2":
            self._end(UnusableError(f"an answer was {self._answer[:_SHOWN].decode(errors='replace')!r}"))
            return
        self.took.append((self._sent, now))
        self._answer = b""
        self._nth += 1
        if self._goes_on(self._nth):
            self._send()
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(UnusableError("the server closed a connection"))

    def _send(self) -> None:
        request = self._call.text(self._number, self._clients, self._offset + self._nth)
        self._sent = time.perf_counter()
        self._transport.write(request)

    def _end(self, error: UnusableError | None) -> None:
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
        self._transport.close()


def _is_whole(answer: bytes) -> bool:
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return False
    fields = answer[:head].lower()
    at = fields.find(b"\r\ncontent-length:")
    if at >= 0:
        end = fields.find(b"\r\n", at + 2)
        length = int(fields[at + 17 : end if end >= 0 else None])
        return len(answer) >= head + 4 + length
    return b"\r\ntransfer-encoding: chunked" not in fields or answer.endswith(b"0\r\n\r\n")
