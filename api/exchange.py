"""One request and its answer, as the parts around routing know it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, cast
from uuid import uuid4

from fastapi import Depends, Request
from starlette.types import Scope

from api.auth import Actor

Json = Mapping[str, object]

_KEY = "keyledger.exchange"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(slots=True)
class Exchange:
    """What is known about a request so far.

    request_id: the caller's `X-Request-ID` where it is a plain token, else a new one.
    actor: set once authentication succeeded. body: the checked JSON object, None when there is none.
    refusal: the code of the problem that it was answered with.
    """

    request_id: str
    actor: Actor | None = None
    body: Json | None = None
    refusal: str | None = None


def open_exchange(scope: Scope, wanted_id: str | None) -> Exchange:
    """Start the exchange of a request. `wanted_id` is whatever the caller sent as its id."""
    valid = wanted_id is not None and _REQUEST_ID.fullmatch(wanted_id)
    exchange = Exchange(str(wanted_id) if valid else str(uuid4()))
    scope[_KEY] = exchange
    return exchange


def exchange_of(scope: Scope) -> Exchange:
    """Return the exchange that `open_exchange` started."""
    return cast(Exchange, scope[_KEY])


async def _exchange(request: Request) -> Exchange:
    return exchange_of(request.scope)


async def _actor(request: Request) -> Actor:
    actor = exchange_of(request.scope).actor
    if actor is None:  # the guard was not in front: serving anyway would be serving anybody
        raise RuntimeError("a protected endpoint was reached without authentication")
    return actor


ExchangeOf = Annotated[Exchange, Depends(_exchange)]
ActorOf = Annotated[Actor, Depends(_actor)]
AUTHENTICATED = Depends(_actor)
"""On every router below /api, so that an endpoint is closed even if the guard were not in front of it."""
