"""The scope of an access key: what a request has to name to be within it.

Promises: a scope is a value, and deciding is a pure function. A restricted dimension has to be named by the request:
one that names no tenant is outside the scope of a key for some tenants, and so on. An error names the dimension and
what the key may use, which its holder may know; it says nothing about other tenants, and nothing about what exists.
Refuses: native calls of a key for some models, since the body of such a call is the provider's and is not read; but
for WebSockets, whose query names the model.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from domain.calls.route_pattern import RoutePattern

ROUTE_FORM = "must be METHOD:path, such as POST:v1/chat/completions or GET:v1/files/*"
_SHOWN = 5
_BETWEEN = " "

Names = tuple[str, ...]
Network = IPv4Network | IPv6Network


class Surface(StrEnum):
    """A way to call a model. openai: OpenAI's API. messages: Anthropic's Messages API. native: the provider's own."""

    OPENAI = "openai"
    MESSAGES = "messages"
    NATIVE = "native"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The things that a request names. None, or "": it does not name one.

    address: of the client. surface, model, method, path: of a call; method and path are those of a native call.
    filtered: the answer shows only what the scope admits, so the request names no provider and no model.
    """

    address: str | None = None
    tenant: str | None = None
    provider: str | None = None
    surface: Surface | None = None
    model: str | None = None
    method: str = ""
    path: str = ""
    filtered: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """The values that a key is limited to, by dimension. None: not limited.

    models: patterns, in which `*` stands for any characters. native_routes: as in `RoutePattern`. networks: in CIDR
    notation. No value holds a space.
    """

    tenants: Names | None = None
    providers: Names | None = None
    models: Names | None = None
    surfaces: Names | None = None
    native_routes: Names | None = None
    networks: Names | None = None

    def error(self, wanted: Wanted) -> str | None:
        """Return why a request is outside the scope, in one sentence, or None if it is within."""
        return next(self._errors(wanted), None)

    def _errors(self, wanted: Wanted) -> Iterator[str]:
        if self.networks is not None and not _is_in(wanted.address, self.networks):
            yield "This caller may not be used from this network address."
        if self.tenants is not None and wanted.tenant not in self.tenants:
            yield _outside("tenant", self.tenants)
        if wanted.surface is not None:
            yield from self._errors_of_calls(wanted)
        if wanted.filtered:
            return
        if self.providers is not None and wanted.provider not in self.providers:
            yield _outside("provider", self.providers)
        if self.models is not None and not (
            wanted.model and any(fits_pattern(one, wanted.model) for one in self.models)
        ):
            yield _outside("model", self.models)

    def _errors_of_calls(self, wanted: Wanted) -> Iterator[str]:
        if self.surfaces is not None and wanted.surface not in self.surfaces:
            yield _outside("surface", self.surfaces)
        if wanted.surface is Surface.NATIVE and self.native_routes is not None:
            routes = map(_route, self.native_routes)
            if not any(route.matches(wanted.method, wanted.path) for route in routes):
                yield _outside("route", self.native_routes)


DIMENSIONS = tuple(field.name for field in fields(Scope))


def stored_names(names: Names | None) -> str | None:
    """Return the values of a dimension as an event holds them."""
    return None if names is None else _BETWEEN.join(names)


def names_of(stored: str | None) -> Names | None:
    """Return the values of a dimension from what an event holds."""
    return None if stored is None else tuple(stored.split(_BETWEEN))


def _outside(dimension: str, allowed: Names) -> str:
    listed = ", ".join(allowed[:_SHOWN]) + (f" and {len(allowed) - _SHOWN} more" if len(allowed) > _SHOWN else "")
    return f"This caller may not use this {dimension}, or the request names none. It may use: {listed}."


@lru_cache(1 << 10)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)


def fits_pattern(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern, in which `*` stands for any characters."""
    return _pattern(pattern).fullmatch(name) is not None


@lru_cache(1 << 10)
def _route(text: str) -> RoutePattern:
    return RoutePattern.read(text, ROUTE_FORM)


@lru_cache(1 << 10)
def _network(text: str) -> Network:
    return ip_network(text)


def _is_in(address: str | None, networks: Names) -> bool:
    try:
        known = ip_address(address or "")
    except ValueError:
        return False
    if isinstance(known, IPv6Address) and known.ipv4_mapped is not None:
        known = known.ipv4_mapped
    return any(known in _network(one) for one in networks)
