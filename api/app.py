"""The application, put together from built services.

Promises: two applications in one process share nothing; every error is answered with a problem (see `problems`).
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from api.console import pages
from api.front.bodies import Limits
from api.front.bounds.bound_metrics import BoundMetrics
from api.front.bounds.bounded_use import BoundedUse
from api.front.bounds.connections import CONNECTIONS, Connections
from api.front.bounds.node_counts import Counts
from api.front.bounds.shares import Shares
from api.front.envelope import Envelope
from api.front.error_middleware import ErrorMiddleware
from api.front.failed_keys import FailedKeys
from api.front.guard import Guard
from api.front.head import Head
from api.front.json_body import JsonBody
from api.front.metrics import Metrics
from api.front.paths import NATIVE
from api.front.refused_requests import RouteNames
from api.front.services import Services
from api.rest import (
    access_keys,
    credentials,
    encryption_keys,
    fleet,
    health,
    own_tenant,
    projections,
    proposals,
    reload,
    resolution,
    sign_in,
    tenants,
    transparency,
)
from api.rest.audit import entries, export, token_usage, usage
from api.rest.calls import llm, messages
from api.rest.calls.native import Native
from api.rest.calls.native_document import native_operations
from api.rest.calls.relayed import Relayed
from api.rest.calls.relayed_document import relayed_operations
from api.rest.openapi import TITLE, VERSION, document

_ROUTERS = (
    credentials.router,
    fleet.router,
    tenants.router,
    own_tenant.router,
    entries.router,
    export.router,
    transparency.router,
    usage.router,
    token_usage.router,
    encryption_keys.router,
    projections.router,
    access_keys.router,
    proposals.router,
    reload.router,
    resolution.router,
    llm.router,
    messages.router,
    sign_in.router,
    health.router,
    pages.router,
)
_DESCRIPTION = "API keys of tenants for LLM providers: administration, audit trail, and calls with the right key."


class _Application(FastAPI):
    """FastAPI without middleware of its own: `Envelope` and `ErrorMiddleware` take its place."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return the router within the layers that were added."""
        app: ASGIApp = self.router
        for layer, args, kwargs in reversed(self.user_middleware):
            app = layer(app, *args, **kwargs)
        return app


def create_app(services: Callable[[], Services], limits: Limits | None = None, counts: Counts | None = None) -> FastAPI:
    """Return the application.

    services: returns the services in force, called for each request; all share one audit recorder and one registry.
    limits: how much of a request body is read, and for how long. counts: of this process and the others of its node.
    """
    lasting = services()
    app = _Application(
        title=TITLE,
        version=VERSION,
        description=_DESCRIPTION,
        openapi_url=None,  # FastAPI would encode the document for each request
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        # The environment must not be able to switch on exporters for what passes through here.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.services = services
    app.state.metrics = Metrics(lasting.registry)
    bound_metrics = BoundMetrics(lasting.registry)
    shares = Shares(bound_metrics.reached, counts)
    app.state.connections = Connections(lambda: services().bounds, lambda: services().proxies, bound_metrics.reached)
    bound_metrics.show(app.state.connections, shares)
    # An included router would be searched twice per request.
    app.router.routes[:0] = [route for router in _ROUTERS for route in router.routes]
    limits, failed_keys = limits or Limits(), FailedKeys()
    app.state.metrics.delayed_answers(lambda: failed_keys.waiting)
    # The one added last is outermost.
    app.add_middleware(ErrorMiddleware, routes=app.router.routes)
    app.add_middleware(JsonBody, limits=limits)
    app.add_middleware(Relayed, metrics=app.state.metrics, limits=limits)
    app.add_middleware(Native, metrics=app.state.metrics, limits=limits)
    app.add_middleware(BoundedUse, shares=shares, limits=limits)
    app.add_middleware(Guard, limits=limits, metrics=app.state.metrics, failed_keys=failed_keys)
    app.add_middleware(Head)
    app.add_middleware(Envelope, metrics=app.state.metrics, routes=RouteNames(_ROUTERS))
    app.openapi = partial(document, app, _items_without_a_route, services)  # type: ignore[method-assign]  # the documented way
    return app


def _items_without_a_route() -> Mapping[str, Mapping[str, Any]]:
    """Return the path items of what layers serve instead of routes."""
    return {NATIVE: native_operations(), **relayed_operations()}


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, object]]:
    services: Services = app.state.services()
    await services.startup()
    try:
        yield {CONNECTIONS: app.state.connections}
    finally:
        await services.shutdown()
