"""One client's connection to one service. It reconnects, and never raises for a service that does not answer.

http.client, because a client that takes a tenth of the processor leaves the rest to the service that is tried.
"""

import http.client
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.support.service import ADMIN_KEY, credential

_PATIENCE_S = 40
NO_ANSWER = 0


@dataclass(frozen=True)
class Answer:
    """One answer. status: NO_ANSWER if there was none. seconds: how long it took. at: when the request was sent.

    request: the id under which the request is in the ledger, if it is.
    """

    by: str
    action: str
    status: int
    text: str
    retry_after: bool
    at: float
    seconds: float
    request: str = ""

    @property
    def ended(self) -> float:
        """When the answer was there."""
        return self.at + self.seconds

    @property
    def succeeded(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300


class Client:
    """A connection for one thread. name: the service's, for its answers."""

    def __init__(self, name: str, url: str) -> None:
        place = urlsplit(url)
        self.name = name
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=_PATIENCE_S)

    def ask(
        self, action: str, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request. action: names it in the answer."""
        sent = json.dumps(body) if body is not None else None
        given = {"X-API-Key": ADMIN_KEY, "Content-Type": "application/json", **(headers or {})}
        at = time.monotonic()
        try:
            self._connection.request(method, path, sent, given)
            answer = self._connection.getresponse()
            text = answer.read().decode(errors="replace")
            status, retry_after = answer.status, answer.getheader("Retry-After") is not None
        except (OSError, http.client.HTTPException):
            self._connection.close()
            status, text, retry_after = NO_ANSWER, "", False
        return Answer(
            self.name, action, status, text, retry_after, at, time.monotonic() - at, given.get("X-Request-ID", "")
        )

    def change(self, kind: str, tenant: str, provider: str, key: str, headers: Mapping[str, str]) -> Answer:
        """Set a credential, or delete it if there is no key."""
        if key:
            return self.ask(kind, "PUT", credential(tenant, provider), {"api_key": key}, headers)
        return self.ask(kind, "DELETE", credential(tenant, provider), None, headers)

    def call(self, tenant: str, provider: str, path: str) -> Answer:
        """Call the provider's own API as a tenant."""
        return self.ask("call", "GET", f"/api/v1/tenants/{tenant}/providers/{provider}/{path}")

    def ready(self) -> Answer:
        """Ask whether the service is ready."""
        return self.ask("readyz", "GET", "/readyz")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Answers:
    """All answers to all clients."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[Answer] = []

    def note(self, answer: Answer) -> None:
        """Add one."""
        with self._lock:
            self._all.append(answer)

    def since(self, at: float) -> list[Answer]:
        """Return those to requests sent at this monotonic time or later, in the order of their ends."""
        with self._lock:
            return [answer for answer in self._all if answer.at >= at]
