"""How much later an answer comes to one caller while others take all they can get, and what memory that costs.

The caller sends a request every ten milliseconds on one connection. Its 99th percentile in a crowd is measured in ratio
to its own, alone, in the same round. The crowd, the provider and the service share the processors, so part of each
ratio is the time that they take, which more processors would give back.
"""

import http.client
import multiprocessing
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing.synchronize import Event
from pathlib import Path

from benchmarks.bad_provider import bad_provider
from benchmarks.frame import Goal, Measured, Row, Scale, Section, Spread, UnusableError, apart, in_turn, measured
from benchmarks.load import TENANT
from benchmarks.processes import Running
from benchmarks.service import ADMIN, LIST, MODEL, service, set_credentials, settle

_EVERY_S = 0.01
_GONE_S = 3.0
"""After which the service has noticed that a crowd has left."""
_NATIVE = f"/api/v1/tenants/{TENANT % 1}/providers/openai/v1/{{}}"
_CHAT = f"/api/v1/tenants/{TENANT % 1}/openai/v1/chat/completions"
_GOAL, _HANGING_GOAL = Goal(2.0, at_most=True), Goal(1.5, at_most=True)
_GIVEN_BACK = Goal(40, at_most=True)


@dataclass(frozen=True, slots=True)
class Crowd:
    """Others and what they do. act: for one of them, again and again. goal: of the ratio."""

    act: Callable[[int], None]
    size: int
    goal: Goal = _GOAL


def run(scale: Scale, folder: Path) -> Section:
    """Measure the caller alone and in each crowd by turns."""
    section = Section("fairness: the 99th percentile of one caller in a crowd, to its own when alone")
    with bad_provider() as provider_port, service(folder, provider_port=provider_port) as running:
        set_credentials(running, 1)
        settle(running)
        for named, path in (("list", LIST.path.replace("{tenant}", TENANT % 1)), ("native GET", _NATIVE.format("ok"))):
            call = partial(apart, _call_steadily, running.port, path, scale.seconds)
            call()  # what the first calls load
            for name, crowd in CROWDS.items():
                _measure(section, running, f"{named}, {name}", call, crowd, scale)
    return section


def _measure(
    section: Section, running: Running, what: str, call: Callable[[], Measured], crowd: Crowd, scale: Scale
) -> None:
    before, during = running.memory_mb, [0.0]

    def crowded() -> Measured:
        with _crowding(crowd, running.port):
            found = call()
            during.append(running.memory_mb)
        return found

    try:
        found = in_turn({"alone": call, "crowded": crowded}, scale.rounds)
    except UnusableError as why:
        section.skip(what, why)
        return
    ratio = Spread.of([a.p99_ms / b.p99_ms for a, b in zip(found["crowded"], found["alone"], strict=True)])
    times = {name: statistics.median(one.p99_ms for one in rounds) for name, rounds in found.items()}
    beside = ", ".join(f"{name} {time:.1f} ms" for name, time in times.items())
    section.rows.append(Row(what, ratio, crowd.goal, beside))
    time.sleep(_GONE_S)
    kept = Spread.of([max(0.0, running.memory_mb - before)])
    section.rows.append(Row(f"{what}: MB kept", kept, _GIVEN_BACK, f"{max(during) - before:.0f} MB more in the crowd"))


def _call_steadily(port: int, path: str, seconds: float) -> Measured:
    """Send a request every ten milliseconds and return how long they took. Raises UnusableError for one refused."""
    connection, took = http.client.HTTPConnection("127.0.0.1", port, timeout=60), []
    until = time.perf_counter() + seconds
    try:
        while (begun := time.perf_counter()) < until:
            connection.request("GET", path, headers=dict(ADMIN))
            answer = connection.getresponse()
            text = answer.read()
            took.append(time.perf_counter() - begun)
            if answer.status != 200:
                raise UnusableError(f"an answer was {answer.status}: {text[:200].decode(errors='replace')}")
            time.sleep(max(0.0, _EVERY_S - took[-1]))
    except (OSError, http.client.HTTPException) as problem:
        raise UnusableError(f"a request got no answer: {problem!r}") from None
    return measured(took, seconds)


@contextmanager
def _crowding(crowd: Crowd, port: int) -> Iterator[None]:
    """Have a crowd at work, in a process of its own, while the block lasts."""
    context = multiprocessing.get_context("spawn")
    begun, over = context.Event(), context.Event()
    process = context.Process(target=_crowd, args=(crowd, port, begun, over), daemon=True)
    process.start()
    begun.wait(60)
    try:
        yield
    finally:
        over.set()
        process.join(10)
        process.kill()
        process.join()


def _crowd(crowd: Crowd, port: int, begun: Event, over: Event) -> None:
    def act_on() -> None:
        while not over.is_set():
            with suppress(OSError, http.client.HTTPException):
                crowd.act(port)

    for _ in range(crowd.size):
        threading.Thread(target=act_on, daemon=True).start()
    begun.set()
    over.wait()


def _get(what: str, port: int) -> None:
    """Call the provider's own API and read all of the answer."""
    _send(port, "GET", _NATIVE.format(what), None, ADMIN)


def _send(port: int, method: str, path: str, body: bytes | None, headers: tuple[tuple[str, str], ...]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json", **dict(headers)})
        connection.getresponse().read()
    finally:
        connection.close()


def _hold(what: str, port: int) -> None:
    """Call the provider's own API and leave the answer unread for as long as the service allows."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        head = f"GET {_NATIVE.format(what)} HTTP/1.1\r\nHost: 127.0.0.1\r\n{ADMIN[0][0]}: {ADMIN[0][1]}\r\n\r\n"
        client.sendall(head.encode())
        time.sleep(30)


_IDLE: list[socket.socket] = []


def _idle(port: int) -> None:
    """Hold 1,100 connections and say nothing on any."""
    while len(_IDLE) < 1100:
        _IDLE.append(socket.create_connection(("127.0.0.1", port)))
    time.sleep(0.05)
    _IDLE.pop(0).close()


_nth = count()


def _guess(port: int) -> None:
    _send(port, "GET", LIST.path.replace("{tenant}", TENANT % 1), None, (("X-API-Key", f"guess-{next(_nth)}"),))


def _chat_much(port: int) -> None:
    _send(port, "POST", _CHAT, _MUCH, ADMIN)


_MUCH = b'{"model":"%s","messages":[%s]}' % (
    MODEL.encode(),
    b",".join([b'{"role":"user","content":"a"}'] * 60_000),
)

CROWDS: Mapping[str, Crowd] = {
    "60,000 messages": Crowd(_chat_much, 1),
    "60,000 messages from four": Crowd(_chat_much, 4),
    "200 MB of zeros in gzip": Crowd(partial(_get, "zeros"), 1),
    "100 MB of backslashes in gzip": Crowd(partial(_get, "backslashes"), 1),
    "9 MB of escapes from two": Crowd(partial(_get, "escapes"), 2),
    "250 who do not read 20 MB": Crowd(partial(_hold, "stream"), 250),
    "1,100 idle connections": Crowd(_idle, 1),
    "eight who guess keys": Crowd(_guess, 8),
    "100 calls that hang": Crowd(partial(_hold, "hang"), 100, _HANGING_GOAL),
}
