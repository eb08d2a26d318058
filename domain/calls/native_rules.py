"""The operator's rules for calls to providers' own APIs: which routes are closed, and what the global key may call.

The global key calls inference routes (see `keyledger.llm.native.global_calls`) and the routes listed here. The
administration routes of an account at a provider are closed to every key unless the operator opens them.
Promises: a closed route is found in any spelling that a server may take for it: letter case, escapes, parameters after
a semicolon, an extension, or an escaped slash. One table serves all providers, the operator's own rows included.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Self
from urllib.parse import unquote

from domain.calls.route_pattern import RoutePattern
from domain.errors import ErrorCode, InvalidRequestError

_FORM = "must be provider:METHOD:path, such as openai:GET:v1/models"
_PATH_KEPT_MAX = 256
"""Characters of the longest path whose answer is kept."""

_ACCOUNT_SEGMENTS = (
    *("organi[sz]ations?", "orgs?", "admin", "admin[_-]?(?:api[_-]?)?keys?", "api[_-]?keys?", "service[_-]?accounts?"),
    *("billing", "dashboard", "users?", "projects?", "workspaces?", "teams?", "members?", "memberships?"),
    *("invites?", "invitations?", "audit[_-]?logs?", "usage", "costs?", "credits?", "credit[_-]?grants?"),
    *("invoices?", "payment[_-]?methods?", "subscriptions?", "spend[_-]?limits?", "rate[_-]?limits?"),
    *("provisioning", "management", "certificates?", "data[_-]?retention", "permissions?", "compliance", "roles?"),
    *("groups?", "webhooks?", "client[_-]?secrets?", "ephemeral[_-]?keys?", "access[_-]?tokens?", "tokens", "config"),
    *("(?:usage|cost)[_-]?reports?", "(?:team|user|customer|key|model)[_-]?info", "customers?"),
    *("model/(?:new|update|delete|info)",),
)
"""Segments of paths under which providers administer an account: its members, keys, projects and bills."""
_ACCOUNT = re.compile(rf"(?:^|/)[^a-z0-9/]*(?:{'|'.join(_ACCOUNT_SEGMENTS)})(?![a-z0-9_-])", re.IGNORECASE)
_ACCOUNT_FIRST = re.compile(r"(?:v[0-9]+[a-z0-9]*/)*(?:keys?|accounts?)(?![a-z0-9_-])", re.IGNORECASE)
"""Segments that mean the same only at the beginning of a path."""


def is_account_route(path: str) -> bool:
    """Whether a path administers the account at the provider. path: normalised, without a leading slash."""
    return _administers(path) if len(path) <= _PATH_KEPT_MAX else _administers.__wrapped__(path)


@lru_cache(maxsize=1024)
def _administers(path: str) -> bool:
    read = unquote(path)
    return _ACCOUNT.search(read) is not None or _ACCOUNT_FIRST.match(read) is not None


@dataclass(frozen=True, slots=True)
class OpenedRoute:
    """A route of one provider that the operator opened for the global key."""

    provider: str
    pattern: RoutePattern

    @classmethod
    def read(cls, entry: str, providers: Iterable[str]) -> Self:
        """Return the route of an entry such as `openai:GET:v1/models/*`.

        providers: those that exist. Raises ValueError with our own text, which does not repeat the entry.
        """
        provider, _, rest = entry.partition(":")
        pattern = RoutePattern.read(rest, _FORM)
        if provider not in set(providers):
            raise ValueError(f"names no provider that is known; {_FORM}")
        return cls(provider, pattern)

    def matches(self, provider: str, method: str, path: str) -> bool:
        """Whether a call uses this route. path: normalised; a version `v1` at its beginning does not count."""
        return provider == self.provider and self.pattern.matches(method, path)

    def __str__(self) -> str:
        return f"{self.provider}:{self.pattern}"


@dataclass(frozen=True, slots=True)
class NativeRules:
    """The operator's rules. global_routes: open to the global key besides inference. account_routes: open to a key."""

    global_routes: tuple[OpenedRoute, ...] = ()
    account_routes: bool = False

    def require_open(self, path: str) -> None:
        """Raise InvalidRequestError for a route that is closed to every key. path: normalised."""
        if not self.account_routes and is_account_route(path):
            raise InvalidRequestError(
                (),
                ErrorCode.ACCOUNT_ROUTE_CLOSED,
                "This route administers the account at the provider (members, keys, projects, billing), which no call "
                "through this service may do. An operator can open such routes with NATIVE_ACCOUNT_ROUTES=open.",
            )

    def opens(self, provider: str, method: str, path: str) -> bool:
        """Whether the global key may call a route as it is, whatever the body holds. path: normalised."""
        return any(route.matches(provider, method, path) for route in self.global_routes)
