"""Clients that change and use credentials at two services at once, and keep account of everything.

Promises: each command is in the ledger before it is sent. Each credential has one writer, which sends one command after
the other, now to one service and now to the other; a command of unknown outcome that has an Idempotency-Key is sent
again now and then. Each call has a number in its path, by which the provider's own record shows which key it carried.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from tests.prove.check import Read
from tests.prove.client import Answer, Answers, Client
from tests.prove.ledger import DELETE, SET, Ledger, Request
from tests.support.native_provider import NativeProvider

PROVIDER = "openai"
_NO_CREDENTIAL = 424
_PAUSE_S = 0.05
_LOOK_S = 0.5
_PATIENCE_S = 60
_HURRIED_S = 3


@dataclass(frozen=True)
class _Asked:
    """A call that was made, by its number."""

    number: int
    tenant: str
    answer: Answer


class Load:
    """The clients, at work while the block lasts. urls: the services by their names."""

    def __init__(
        self,
        urls: Mapping[str, str],
        provider: NativeProvider,
        ledger: Ledger,
        rng: random.Random,
        writers: int = 8,
        readers: int = 3,
    ) -> None:
        self.answers = Answers()
        self.tenants = [str(UUID(int=rng.getrandbits(128), version=4)) for _ in range(2 * writers)]
        self._urls = urls
        self._provider = provider
        self._ledger = ledger
        self._asked: list[_Asked] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        works = [(self._write, self.tenants[2 * number : 2 * number + 2]) for number in range(writers)]
        works += [(self._call, self.tenants)] * readers
        self._threads = [
            threading.Thread(target=work, args=(tenants, random.Random(rng.random())), daemon=True)
            for work, tenants in works
        ]
        self._threads += [threading.Thread(target=self._watch, args=(name,), daemon=True) for name in urls]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        # After an interruption no one waits for an answer that may take long; the threads end with their services.
        deadline = time.monotonic() + (_PATIENCE_S if kind is None else _HURRIED_S)
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))

    def call_every_tenant(self) -> None:
        """Make one call as each tenant at each service."""
        for name, url in self._urls.items():
            client = Client(name, url)
            for tenant in self.tenants:
                self._call_once(client, tenant)
            client.close()

    def reads(self) -> list[Read]:
        """Return the calls whose key is known: it reached the provider, or there was none."""
        carried = {_number_of(heard.target): _key_of(heard.headers) for heard in list(self._provider.heard)}
        with self._lock:
            asked = list(self._asked)
        found = []
        for one in asked:
            key = carried.get(one.number)
            if key is None and one.answer.status == _NO_CREDENTIAL and '"no-credential"' in one.answer.text:
                key = ""
            if key is not None:
                found.append(Read(one.tenant, PROVIDER, key, one.answer.at, one.answer.ended, one.answer.by))
        return found

    def _clients(self) -> list[Client]:
        return [Client(name, url) for name, url in self._urls.items()]

    def _write(self, tenants: Sequence[str], rng: random.Random) -> None:
        clients = self._clients()
        unknown: Request | None = None
        while not self._stop.wait(rng.uniform(0, _PAUSE_S)):
            if unknown is not None and unknown.idempotency and rng.random() < 0.5:
                request = self._ledger.sending(unknown.kind, unknown.tenant, unknown.provider, unknown)
            else:
                kind = DELETE if rng.random() < 0.2 else SET
                request = self._ledger.sending(kind, rng.choice(tenants), PROVIDER)
            answer = send(rng.choice(clients), request, self._ledger)
            self.answers.note(answer)
            unknown = request if answer.status >= 500 or not answer.status else None
        for client in clients:
            client.close()

    def _call(self, tenants: Sequence[str], rng: random.Random) -> None:
        clients = self._clients()
        while not self._stop.wait(rng.uniform(0, _PAUSE_S)):
            self._call_once(rng.choice(clients), rng.choice(tenants))
        for client in clients:
            client.close()

    def _call_once(self, client: Client, tenant: str) -> None:
        with self._lock:
            number = len(self._asked)
            self._asked.append(_Asked(number, tenant, Answer(client.name, "call", 0, "", True, time.monotonic(), 0)))
        answer = client.call(tenant, PROVIDER, f"v1/models?call={number}")
        with self._lock:
            self._asked[number] = _Asked(number, tenant, answer)
        self.answers.note(answer)

    def _watch(self, name: str) -> None:
        client = Client(name, self._urls[name])
        while not self._stop.wait(_LOOK_S):
            self.answers.note(client.ready())
        client.close()


def send(client: Client, request: Request, ledger: Ledger) -> Answer:
    """Send a request that the ledger holds, and note its answer there."""
    headers = {"X-Request-ID": request.id}
    if request.idempotency:
        headers["Idempotency-Key"] = request.idempotency
    answer = client.change(request.kind, request.tenant, request.provider, request.key, headers)
    if answer.status:
        ledger.answered(request, answer.status)
    return answer


def until(true: Callable[[], bool], seconds: float) -> bool:
    """Wait until something is true; return whether it was in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_S)
    return True


def _number_of(target: str) -> int:
    return int(parse_qs(urlsplit(target).query).get("call", ["-1"])[0])


def _key_of(headers: Mapping[str, str]) -> str:
    return headers.get("authorization", "").removeprefix("Bearer ")


_CONTRADICTIONS = ("went back", "was rewritten", "which this node acknowledged")


def accusation(answer: Answer) -> str:
    """Return what a `/readyz` says of a log that went back or was rewritten; "" if it does not."""
    if answer.action != "readyz" or not answer.text.startswith("{"):
        return ""
    texts = (check["text"] for check in json.loads(answer.text).get("checks", {}).values())
    return next((text for text in texts if any(said in text for said in _CONTRADICTIONS)), "")
