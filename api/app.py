"""The application, put together from built services.

Promises: two applications in one process share nothing; whatever goes wrong leaves as a problem (see `problems`).
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from api.console import pages
from api.front.bodies import Limits
from api.front.envelope import Envelope
from api.front.guard import Guard
from api.front.head import Head, with_head
from api.front.metrics import Metrics
from api.front.paths import NATIVE
from api.front.problems import HttpError, internal_problem, problem_of, problem_response
from api.front.refused_requests import RouteNames
from api.front.services import Services
from api.front.validation import request_faults
from api.rest import credentials, encryption_keys, fleet, health, projections, reload, resolution, transparency
from api.rest.audit import entries, export, usage
from api.rest.calls import llm
from api.rest.calls.native import Native
from api.rest.calls.native_document import native_operations
from api.rest.direct import Direct
from api.rest.openapi import TITLE, VERSION, document
from domain.errors import ServiceError

_ROUTERS = (
    credentials.router,
    fleet.router,
    entries.router,
    export.router,
    transparency.router,
    usage.router,
    encryption_keys.router,
    projections.router,
    reload.router,
    resolution.router,
    llm.router,
    health.router,
    pages.router,
)
_DESCRIPTION = "API keys of tenants for LLM providers: administration, audit trail, and calls with the right key."


def create_app(services: Callable[[], Services], limits: Limits | None = None) -> FastAPI:
    """Return the application.

    services: those in force, asked anew for each request; all have the same recorder and metrics. limits: how much of a
    request's body is read and for how long.
    """
    lasting = services()
    app = FastAPI(
        title=TITLE,
        version=VERSION,
        description=_DESCRIPTION,
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    app.state.services = services
    app.state.metrics = Metrics(lasting.registry)
    for router in _ROUTERS:
        app.include_router(router)
    app.add_exception_handler(ServiceError, _refused)
    app.add_exception_handler(HttpError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _not_routed)
    limits = limits or Limits()
    # The one added last is outermost.
    app.add_middleware(Native, metrics=app.state.metrics, limits=limits)
    app.add_middleware(Direct)
    app.add_middleware(Guard, limits=limits)
    app.add_middleware(Head)
    app.add_middleware(Envelope, metrics=app.state.metrics, routes=RouteNames(_ROUTERS))
    app.openapi = partial(document, app, {NATIVE: native_operations()}, services)  # type: ignore[method-assign]  # the documented way
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services()
    await services.startup()
    try:
        yield
    finally:
        await services.shutdown()


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError | HttpError)  # noqa: S101  registered for these
    return problem_response(problem_of(error), request.scope)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for this
    return problem_response(problem_of(request_faults(error, request.scope.get("route"))), request.scope)


async def _not_routed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for this
    allowed = _allowed_methods(request)
    if error.status_code == 404:
        refusal = HttpError("not-found", "There is nothing at this address.")
    elif error.status_code == 405:
        refusal = HttpError("method-not-allowed", f"Use {' or '.join(allowed)}.", {"Allow": ", ".join(allowed)})
    elif error.status_code == 400:
        refusal = HttpError("malformed-json", "The body cannot be read.")
    else:
        return problem_response(internal_problem(), request.scope)
    return problem_response(problem_of(refusal), request.scope)


def _allowed_methods(request: Request) -> list[str]:
    """Return the methods of every route of the path; the router itself knows only the first that fits."""
    methods: set[str] = set()
    for route in (*request.app.routes, *(route for router in _ROUTERS for route in router.routes)):
        match, _ = route.matches(request.scope)
        known: Mapping[str, object] | set[str] = getattr(route, "methods", None) or set()
        methods |= set(known) if match is not Match.NONE else set()
    return sorted(with_head(methods))
