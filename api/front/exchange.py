"""The state of one request and its answer, shared by the layers around routing.

Promises: no text of a request that will be stored contains a key sent with the request, or anything shaped like a key:
a request id that does is replaced, and any other such text is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, cast
from uuid import uuid4

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.types import Scope

from api.front.auth import Actor
from api.front.callers import RequestAdmission
from api.front.cli_agent import CLI_AGENT
from api.front.proxies import TrustedProxies
from domain.audit.request_events import ANONYMOUS
from domain.credentials.key_shapes import holds_key, resembles_key
from domain.credentials.recording import KEPT_CLEAR
from domain.credentials.secret import Secret
from domain.errors import InvalidField, InvalidRequestError
from domain.events.event import UNKNOWN, CommandMeta, CommandSource
from domain.request_context import REQUEST_ID

Json = Mapping[str, object]

_KEY = "keyledger.exchange"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(slots=True)
class Exchange:
    """The state of a request.

    request_id: the caller's `X-Request-ID` where it is a plain token and no key, else a new one.
    client_address: of the client, as determined by `proxies`. reason: the caller's `X-Audit-Reason`, once checked.
    actor: set once authentication succeeded. admission: of a caller that a scope limits. refused_name: of a caller
    whose token was refused. body: the checked JSON object, None when there is none.
    refused: the code of the problem that the request ended with. refused_with: the status of that problem, where the
    problem was the answer. keys: those sent with the request.
    bodiless: the method is HEAD, so no body will be sent. chosen_id: the request id is the caller's.
    """

    request_id: str
    source: CommandSource = CommandSource.API
    client_address: str | None = None
    reason: str | None = None
    actor: Actor | None = None
    admission: RequestAdmission | None = None
    refused_name: str | None = None
    body: Json | None = None
    refused: str | None = None
    refused_with: int | None = None
    keys: tuple[Secret, ...] = field(default=(), repr=False)
    bodiless: bool = False
    chosen_id: bool = False

    def take_note_of(self, *keys: Secret) -> None:
        """Note keys sent with the request, so that none of its other texts is stored with one of them."""
        self.keys += keys
        if self.chosen_id and holds_key(self.request_id, keys):
            self.replace_id()

    def replace_id(self) -> None:
        """Give the request another id, because the one that the caller chose is a key."""
        self.request_id, self.chosen_id = str(uuid4()), False
        REQUEST_ID.set(self.request_id)

    def require_no_key(self, name: str, text: str) -> None:
        """Raise InvalidRequestError for a text with a key in it. name: of its header or parameter."""
        if holds_key(text, self.keys):
            raise InvalidRequestError([InvalidField(name, KEPT_CLEAR)])

    def meta(self, command_id: str, *, may_repeat: bool = False) -> CommandMeta:
        """Return caller, role, source and reason for a command of this request."""
        name, role = (self.refused_name, UNKNOWN) if self.refused_name else (ANONYMOUS, ANONYMOUS)
        if self.actor is not None:
            name, role = self.actor.name, self.actor.role.value
        return CommandMeta(
            name,
            self.request_id,
            command_id,
            may_repeat,
            role=role,
            source=self.source.value,
            client_address=self.client_address,
            reason=self.reason,
        )


def open_exchange(scope: Scope, proxies: TrustedProxies) -> Exchange:
    """Start the exchange of a request from its scope and headers.

    The server runs each request in a task of its own, so code further down finds the request id in its task.
    """
    headers = Headers(scope=scope)
    wanted_id = headers.get("x-request-id")
    valid = wanted_id is not None and _REQUEST_ID.fullmatch(wanted_id) and not resembles_key(wanted_id)
    by_cli = headers.get("user-agent", "").startswith(f"{CLI_AGENT}/")
    peer = scope.get("client")
    exchange = Exchange(
        str(wanted_id) if valid else str(uuid4()),
        CommandSource.CLI if by_cli else CommandSource.API,
        proxies.client_address(str(peer[0]) if peer else None, headers),
        bodiless=scope["method"] == "HEAD",
        chosen_id=bool(valid),
    )
    REQUEST_ID.set(exchange.request_id)
    exchange.take_note_of()
    scope[_KEY] = exchange
    return exchange


def exchange_of(scope: Scope) -> Exchange:
    """Return the exchange that `open_exchange` started."""
    return cast(Exchange, scope[_KEY])


def _exchange(request: Request) -> Exchange:
    return exchange_of(request.scope)


def _actor(request: Request) -> Actor:
    actor = exchange_of(request.scope).actor
    if actor is None:  # the guard was bypassed: the request is not authenticated
        raise RuntimeError("a protected endpoint was reached without authentication")
    return actor


ExchangeOf = Annotated[Exchange, Depends(_exchange)]
AUTHENTICATED = Depends(_actor)
"""On every router under /api, so that an endpoint is closed even if the guard is bypassed."""
