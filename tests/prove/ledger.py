"""The client's own account of its commands: what it sent, and what it was answered, outside the service.

Promises: a line is in the file before its command leaves, and another once it is answered, so the account outlives the
client as well as the service. Each request has an id of its own (`X-Request-ID`), each set an API key of its own, and a
command with an `Idempotency-Key` is the same command each time it is sent.
A command is *acknowledged* if one of its requests was answered with 2xx, *refused* if all were answered with 4xx, and
*unknown* otherwise: a 5xx, or no answer. Times are seconds of one monotonic clock.
"""

import itertools
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from types import TracebackType

SET, DELETE = "set", "delete"


@dataclass(frozen=True)
class Request:
    """One request. key: the API key that it sets, "" for a deletion. idempotency: its Idempotency-Key, or ""."""

    id: str
    kind: str
    tenant: str
    provider: str
    key: str
    idempotency: str
    sent: float

    @property
    def command(self) -> str:
        """The name of the command that it carries."""
        return self.idempotency or self.id


@dataclass(frozen=True)
class Command:
    """All requests of one command. sent: the first of them. answered: the first 2xx; infinite while there is none."""

    requests: tuple[Request, ...]
    statuses: tuple[int, ...]
    answered: float

    @property
    def first(self) -> Request:
        """The first request."""
        return self.requests[0]

    @property
    def acknowledged(self) -> bool:
        """Whether it was promised to the client."""
        return self.answered < inf

    @property
    def refused(self) -> bool:
        """Whether every request of it was refused for good."""
        return len(self.statuses) == len(self.requests) and all(400 <= status < 500 for status in self.statuses)

    def __str__(self) -> str:
        who = f"{self.first.kind} {self.first.tenant}/{self.first.provider}"
        return f"{who} {self.first.key} (request {self.first.id}, answers {list(self.statuses)})"


class Ledger:
    """The file, for any number of threads."""

    def __init__(self, path: Path, name: str = "") -> None:
        """name: begins every id; tell two ledgers of one log apart by it."""
        self.path = path
        self._name = name
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._open = True
        # Without a buffer: what is written survives the end of this process at once.
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def sending(self, kind: str, tenant: str, provider: str, again: Request | None = None) -> Request:
        """Note a request before it is sent. again: the request whose command it repeats.

        Every other command has an Idempotency-Key.
        """
        with self._lock:
            number = next(self._numbers)
        name = f"{self._name}{number:07}"
        if again is not None:
            key, idempotency = again.key, again.idempotency
        else:
            key = f"sk-proved-{name}" if kind == SET else ""
            idempotency = f"command-{name}" if number % 2 else ""
        request = Request(f"request-{name}", kind, tenant, provider, key, idempotency, time.monotonic())
        self._write({"sent": asdict(request)})
        return request

    def answered(self, request: Request, status: int) -> None:
        """Note the answer to a request. A request without an answer has no second line."""
        self._write({"id": request.id, "status": status, "answered": time.monotonic()})

    def _write(self, line: dict[str, object]) -> None:
        with self._lock:
            if self._open:
                os.write(self._file, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Close the file. What a client does after that is in no ledger."""
        with self._lock:
            self._open = False
            os.close(self._file)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def commands_of(path: Path) -> list[Command]:
    """Read the commands of a ledger, in the order in which they were first sent."""
    requests: dict[str, list[Request]] = defaultdict(list)
    answers: dict[str, tuple[int, float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        said = json.loads(line)
        if "sent" in said:
            request = Request(**said["sent"])
            requests[request.command].append(request)
        else:
            answers[said["id"]] = (said["status"], said["answered"])
    return [_command(sent, answers) for sent in requests.values()]


def _command(requests: Sequence[Request], answers: dict[str, tuple[int, float]]) -> Command:
    answered = [answers[request.id] for request in requests if request.id in answers]
    first = min((when for status, when in answered if 200 <= status < 300), default=inf)
    return Command(tuple(requests), tuple(status for status, _ in answered), first)
