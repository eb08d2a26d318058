"""The parts shared by the tour's steps: the service over HTTP, the stand-in for the providers, tenants and keys.

Promises: every response of the service is searched for every key in the tour, and one that contains a key ends it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from domain.credentials.secret import Secret
from scripts.demo.demo import MODELS, new_key
from scripts.demo.stand_in_provider import Received, StandInProvider
from scripts.terminal.output import Table

if TYPE_CHECKING:  # loaded only when the tour runs
    import httpx


@dataclass(frozen=True, slots=True)
class Step:
    """A claim, and the function that checks it and returns a table to show. It raises AssertionError."""

    claim: str
    prove: Callable[["Stage"], Table]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a step. error: why its claim does not hold, None if it holds."""

    claim: str
    seconds: float
    table: Table | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant in the tour, with its keys by provider."""

    name: str
    id: str
    keys: dict[str, Secret]


@dataclass(frozen=True, slots=True)
class Stage:
    """The service over HTTP, the stand-in for all providers, the database, tenants and keys.

    vkey: the public key of the service's log. promote: restarts the service with the next encryption key as primary.
    """

    http: "httpx.Client"
    provider: StandInProvider
    dsn: str
    vkey: str
    global_key: Secret
    acme: Tenant
    borealis: Tenant
    promote: Callable[[], None]
    replaced_key: Secret = field(default_factory=lambda: new_key("sk-acme-openai"))
    refused_key: Secret = field(default_factory=lambda: new_key("sk-borealis-expired"))

    def send(self, method: str, path: str, body: object = None, key: Secret | None = None) -> "httpx.Response":
        """Send a request. Raises AssertionError when the response contains a provider's key in plain text.

        key: the access key to send it with; by default the administrator's.
        """
        headers = None if key is None else {"X-API-Key": key.reveal()}
        response = self.http.request(method, path, json=body, headers=headers)
        answer = response.content + str(response.headers).encode()
        require(not any(secret.reveal().encode() in answer for secret in self.secrets()), "a response contains a key")
        return response

    def chat(self, tenant: Tenant, model: str, key: Secret | None = None) -> tuple["httpx.Response", list[Received]]:
        """Call a model as the tenant; return the response and the requests that reached a provider. key: see `send`."""
        before = len(self.provider.requests)
        body = {"model": model, "messages": [{"role": "user", "content": "What does the ledger say?"}]}
        response = self.send("POST", f"/api/v1/tenants/{tenant.id}/openai/v1/chat/completions", body, key)
        return response, self.provider.requests[before:]

    def secrets(self) -> list[Secret]:
        """Return all provider keys in the tour."""
        return [
            *self.acme.keys.values(),
            *self.borealis.keys.values(),
            self.global_key,
            self.replaced_key,
            self.refused_key,
        ]


def new_stage(
    http: "httpx.Client",
    provider: StandInProvider,
    dsn: str,
    vkey: str,
    global_key: Secret,
    promote: Callable[[], None] = lambda: None,
) -> Stage:
    """Return a stage with two new tenants; the stand-in accepts all their keys except `refused_key`."""
    acme = Tenant("Acme", str(uuid4()), {name: new_key(f"sk-acme-{name}") for name in MODELS})
    borealis = Tenant("Borealis", str(uuid4()), {"openai": new_key("sk-borealis-openai")})
    stage = Stage(http, provider, dsn, vkey, global_key, acme, borealis, promote)
    provider.accepted = {secret.reveal() for secret in stage.secrets() if secret is not stage.refused_key}
    return stage


def require(holds: bool, what: str) -> None:
    """Raise AssertionError with the message `what` unless `holds` is true."""
    if not holds:
        raise AssertionError(what)
