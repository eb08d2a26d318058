"""The rules for a scope that someone asks for: each value well formed, and the dimensions fit the role.

Promises: a scope that passed is canonical: values are sorted, unique, and spelled in one way. Errors name the field and
the rule, and repeat no value.
Refuses: an empty list, which would allow nothing; a scope that its role or its other dimensions make meaningless, such
as models of a key that makes no calls.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

from domain.access.key_limits import KeyLimits, money_in
from domain.access.roles import Role
from domain.access.scope import DIMENSIONS, ROUTE_FORM, Names, Scope, Surface
from domain.calls.route_pattern import RoutePattern
from domain.errors import InvalidField, InvalidRequestError

VALUES_MAX = 100
"""Values of one dimension."""
_LENGTH_MAX = 200
STARS_MAX = 4
_MAPPED_BITS = 96  # of an IPv4-mapped IPv6 address, before the IPv4 address (RFC 4291, section 2.5.5.2)
TENANT = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MODEL = re.compile(r"[\x21-\x7e]+")
_OF_CALLS = frozenset({"models", "surfaces", "native_routes"})
_UNUSABLE: Mapping[Role, frozenset[str]] = {
    Role.SYSADMIN: _OF_CALLS,
    Role.AUDITOR: _OF_CALLS,
    Role.OPERATOR: _OF_CALLS,
    Role.TENANT_ADMIN: _OF_CALLS,
    Role.RUNTIME: frozenset(),
}
"""By role, the dimensions that none of its requests name."""

Asked = Mapping[str, Sequence[str] | None]
"""By dimension, the values asked for; None, or no member, for all."""


def scope_of(role: Role, asked: Asked, providers: Collection[str]) -> Scope:
    """Return the scope that is asked for. providers: those that exist. Raises InvalidRequestError."""
    errors: list[InvalidField] = []
    checks = _checks(providers)
    given = {name: values for name in DIMENSIONS if (values := asked.get(name)) is not None}
    kept: dict[str, Names] = {}
    for name, values in given.items():
        try:
            kept[name] = _canonical(values, checks[name])
        except ValueError as error:
            errors.append(InvalidField(name, str(error)))
    errors += [InvalidField(name, rule) for name, rule in _contradictions(role, kept)]
    if errors:
        raise InvalidRequestError(errors)
    return Scope(**kept)


def limits_of(
    requests_per_minute: int, concurrent_calls: int, tokens_per_day: int, spend: str | None, role: Role, scope: Scope
) -> KeyLimits:
    """Return the limits that are asked for. Raises InvalidRequestError for budgets unfit for the role or the scope."""
    limits = KeyLimits(requests_per_minute, concurrent_calls, tokens_per_day, money_in(spend))
    for kind in limits.budgets if role is not Role.RUNTIME else ():
        rule = f"must be left out: the role {role} makes no calls to models"
        raise InvalidRequestError([InvalidField(kind.value, rule)])
    surfaces = scope.surfaces if scope.surfaces is not None else tuple(Surface)
    if limits.spend_per_month is not None and Surface.NATIVE in surfaces:
        rule = "must not include native where spend_per_month is set: the body of a native call is not read"
        raise InvalidRequestError([InvalidField("surfaces", rule)])
    return limits


def _canonical(values: Sequence[str], check: Callable[[str], str]) -> Names:
    if not 1 <= len(values) <= VALUES_MAX:
        raise ValueError(f"must have 1 to {VALUES_MAX} values; leave it out, or give null, for all")
    if any(len(value) > _LENGTH_MAX for value in values):
        raise ValueError(f"must have values of at most {_LENGTH_MAX} characters")
    return tuple(sorted({check(value) for value in values}))


_OF_ONE_MODEL = frozenset({"GET:realtime", "GET:v1/realtime"})
"""Native routes that are WebSockets: their query names the model, and their messages are read for such a key."""


def _contradictions(role: Role, kept: Mapping[str, Names]) -> Iterator[tuple[str, str]]:
    for name in sorted(_UNUSABLE[role] & kept.keys()):
        yield name, f"must be left out: the role {role} makes no calls to models"
    if role is Role.TENANT_ADMIN and "tenants" not in kept:
        yield "tenants", f"is required for the role {role}"
    surfaces = kept.get("surfaces", tuple(Surface))
    if "models" in kept and Surface.NATIVE in surfaces and not set(kept.get("native_routes", ("",))) <= _OF_ONE_MODEL:
        rule = "must not include native where models are limited, since the body of a native call is not read; "
        yield "surfaces", f"{rule}with native_routes, it may be limited to {' and '.join(sorted(_OF_ONE_MODEL))}"
    if "native_routes" in kept and Surface.NATIVE not in surfaces:
        yield "native_routes", "must be left out where surfaces do not include native"


def _checks(providers: Collection[str]) -> Mapping[str, Callable[[str], str]]:
    return {
        "tenants": _matching(TENANT, "must be UUIDs of tenants in lower case"),
        "providers": _one_of(providers, "must be names of providers; GET .../models shows them"),
        "models": _model,
        "surfaces": _one_of(tuple(Surface), f"must be among {', '.join(Surface)}"),
        "native_routes": lambda value: str(RoutePattern.read(value, ROUTE_FORM)),
        "networks": _network,
    }


def _matching(form: re.Pattern[str], rule: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not form.fullmatch(value):
            raise ValueError(rule)
        return value

    return check


def _one_of(known: Iterable[str], rule: str) -> Callable[[str], str]:
    names = {str(name) for name in known}

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(rule)
        return value

    return check


def _model(value: str) -> str:
    if not _MODEL.fullmatch(value) or value.count("*") > STARS_MAX:
        raise ValueError(f"must be names of models, without spaces, each with at most {STARS_MAX} times *")
    return value


def _network(value: str) -> str:
    try:
        return str(_as_compared(ip_network(value)))
    except ValueError:
        raise ValueError("must be networks such as 192.0.2.0/24 or 2001:db8::/32, without host bits") from None


def _as_compared(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """Return the IPv4 network that a network of mapped addresses is: a mapped address of a caller counts as IPv4.

    Raises ValueError for a network with a zone, which is one of this machine and not of the caller.
    """
    if isinstance(network, IPv4Network):
        return network
    if network.network_address.scope_id is not None:
        raise ValueError
    mapped = network.network_address.ipv4_mapped
    return network if mapped is None else IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
