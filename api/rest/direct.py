"""The two requests that automation sends all day, list and set, answered without the framework's routing.

Routing, dependencies and the answer's validation take longer than the work itself. What is handled here is the plain
form only: a known path in its canonical spelling, no query, no condition, no idempotency key, a body that fits. All
else goes on to the routes of `credentials`, which say what is wrong with it, so both give the same answers.
Promises: it works only behind the guard, for a caller it has admitted. It keeps no state.
"""

import re
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import uuid4

from pydantic import BaseModel, ValidationError
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.front.exchange import exchange_of
from api.front.paths import UUID_PATTERN
from api.front.problems import problem_of, problem_response
from api.front.services import Services, services_in_force
from api.rest import credentials
from api.rest.schemas import CredentialBody
from domain.credentials.credential import Precondition
from domain.credentials.providers import NAME_PATTERN
from domain.errors import ServiceError
from domain.event import CommandMeta

_PATH = re.compile(rf"/api/v1/sysadmin/tenants/({UUID_PATTERN[1:-1]})/credentials(?:/({NAME_PATTERN}))?")
_SPECIAL = frozenset({b"if-match", b"if-none-match", b"idempotency-key"})

Handler = Callable[[], Awaitable[Response]]


class Direct:
    """ASGI middleware between the guard and routing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is handled here, and let any other go on."""
        handler = self._handler(scope)
        if handler is None:
            await self._app(scope, receive, send)
            return
        try:
            response = await handler()
        except ServiceError as refused:
            response = problem_response(problem_of(refused), scope)
        await response(scope, receive, send)

    def _handler(self, scope: Scope) -> Handler | None:
        if scope["type"] != "http" or scope["query_string"] or scope.get("root_path"):
            return None
        match = _PATH.fullmatch(scope["path"])
        if match is None or exchange_of(scope).actor is None:
            return None
        tenant_id, provider = match.groups()
        if scope["method"] == "GET" and provider is None:
            scope["route"] = credentials.LIST_ROUTE
            return partial(_list, services_in_force(scope), tenant_id)
        if scope["method"] == "PUT" and provider is not None:
            return self._setting(scope, tenant_id, provider)
        return None

    def _setting(self, scope: Scope, tenant_id: str, provider: str) -> Handler | None:
        exchange = exchange_of(scope)
        if exchange.actor is None or any(name in _SPECIAL for name, _ in scope["headers"]):
            return None
        try:
            body = CredentialBody.model_validate(exchange.body)
        except ValidationError:
            return None
        scope["route"] = credentials.SET_ROUTE
        return partial(_set, services_in_force(scope), tenant_id, provider, body, exchange.meta(str(uuid4())))


async def _list(services: Services, tenant_id: str) -> Response:
    return _answer(await credentials.listed_now(services, tenant_id))


async def _set(services: Services, tenant_id: str, provider: str, body: CredentialBody, meta: CommandMeta) -> Response:
    answer, tag = await credentials.set_to(services, tenant_id, provider, body, meta, Precondition())
    return _answer(answer, {"ETag": tag})


def _answer(content: BaseModel, headers: dict[str, str] | None = None) -> Response:
    return Response(content.model_dump_json().encode(), 200, headers, "application/json")
