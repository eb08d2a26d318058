"""Records of refused requests in the audit trail.

Promises: a request without a valid key or right is `denied`, wherever under /api it went; any other error of an
administrator's or auditor's request is `failed`. Only errors of the service itself are recorded, never the status that
a provider answered, so no provider can write to the log. The record holds the template of the route, a tenant that is a
UUID and a known provider, and nothing else that the caller sent. The reason is left out: there is no change that it
could explain, and a key in it may be why the request was refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fastapi import APIRouter
from starlette.routing import Match
from starlette.types import Scope

from api.front.exchange import Exchange
from api.front.paths import UUID_PATTERN, is_about_credentials, is_about_sessions, is_guarded, routed_path
from api.front.services import Services
from domain.audit.request_events import Outcome, RefusedRequest
from domain.credentials.providers import NAME_PATTERN
from domain.errors import ErrorCode

UNROUTED = "unrouted"
_DENIED = frozenset(
    {
        *("unauthenticated", "locked-out", "forbidden", "csrf-token-missing", "sign-in-failed"),
        *(ErrorCode.ACCESS_KEY_REFUSED.value, ErrorCode.TOKEN_REFUSED.value, ErrorCode.OUTSIDE_SCOPE.value),
        ErrorCode.SESSION_ENDED.value,
    }
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PLACE = re.compile(
    rf"/tenants/(?P<tenant>{UUID_PATTERN[1:-1]})(?:/(?:credentials|providers)/(?P<provider>{NAME_PATTERN}))?"
)


def method_of(scope: Scope) -> str:
    """Return the method, or `other` for one that HTTP does not define."""
    return scope["method"] if scope["method"] in _METHODS else "other"


@dataclass(frozen=True, slots=True)
class RouteNames:
    """Finds the template of a request's route, also for requests refused before routing."""

    routers: Sequence[APIRouter]

    def of(self, scope: Scope) -> str:
        """Return the template, or `unrouted`."""
        route = scope.get("route")
        if route is not None:
            return str(getattr(route, "path", UNROUTED))
        for router in self.routers:
            for known in router.routes:
                if known.matches(scope)[0] is not Match.NONE:
                    return str(getattr(known, "path", UNROUTED))
        return UNROUTED


def record_refused_request(services: Services, scope: Scope, exchange: Exchange, route: str) -> None:
    """Record a problem that answered a request in the audit trail, if it belongs there."""
    path, status = routed_path(scope), exchange.refused_with
    if status is None or not (is_guarded(path) or is_about_sessions(path)):
        return
    denied = exchange.refused in _DENIED
    if not denied and not is_about_credentials(path):
        return
    place = _PLACE.search(path)
    provider = place["provider"] if place else None
    services.audit_recorder.refused(
        replace(exchange.meta(""), reason=None),
        RefusedRequest(
            outcome=Outcome.DENIED if denied else Outcome.FAILED,
            method=method_of(scope),
            route=route,
            status=status,
            code=exchange.refused or "unknown",
            tenant_id=place["tenant"] if place else None,
            provider=provider if provider in services.providers else None,
        ),
    )
