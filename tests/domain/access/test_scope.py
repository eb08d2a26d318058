"""A scope admits what it names and refuses the rest, with an error that names the dimension."""

from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.access.roles import Role
from domain.access.scope import Scope, Surface, Wanted, names_of, stored_names
from domain.access.scope_rules import VALUES_MAX, scope_of
from domain.errors import InvalidRequestError
from tests.support.each import each

MINE, ITS = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
CHAT = Wanted(address="192.0.2.7", tenant=MINE, provider="openai", surface=Surface.OPENAI, model="gpt-4o-mini")
FILES = Wanted(
    address="192.0.2.7", tenant=MINE, provider="openai", surface=Surface.NATIVE, method="GET", path="v1/files/f1"
)
NARROW = Scope((MINE,), ("openai",), ("gpt-4o*",), ("openai",), None, ("192.0.2.0/24",))


def test_an_empty_scope_admits_everything() -> None:
    assert [Scope().error(one) for one in (CHAT, FILES, Wanted())] == [None, None, None]


@pytest.mark.parametrize(
    ("scope", "wanted"),
    [
        pytest.param(NARROW, CHAT, id="each dimension named"),
        pytest.param(Scope(models=("gpt-*-mini", "claude-*")), CHAT, id="a pattern in the middle"),
        pytest.param(Scope(networks=("10.0.0.0/8", "192.0.2.7/32")), CHAT, id="the second network"),
        pytest.param(Scope(networks=("192.0.2.0/24",)), replace(CHAT, address="::ffff:192.0.2.7"), id="mapped"),
        pytest.param(Scope(networks=("2001:db8::/32",)), replace(CHAT, address="2001:db8::1"), id="IPv6"),
        pytest.param(Scope(native_routes=("GET:v1/files/*",)), FILES, id="a native route"),
        pytest.param(Scope(native_routes=("GET:v1/files/*",)), CHAT, id="native routes and a call that is not native"),
        pytest.param(Scope(native_routes=("*:**",)), FILES, id="any route"),
    ],
)
def test_a_request_within_the_scope_is_admitted(scope: Scope, wanted: Wanted) -> None:
    assert scope.error(wanted) is None


@each(
    ("scope", "wanted", "dimension"),
    [
        (NARROW, replace(CHAT, tenant=ITS), "this tenant"),
        (NARROW, replace(CHAT, tenant=None), "this tenant"),
        (NARROW, replace(CHAT, provider="mistral"), "this provider"),
        (NARROW, replace(CHAT, provider=None), "this provider"),
        (NARROW, replace(CHAT, model="gpt-3.5"), "this model"),
        (NARROW, replace(CHAT, model=None), "this model"),
        (NARROW, FILES, "this surface"),
        (NARROW, replace(CHAT, address="198.51.100.1"), "this network address"),
        (NARROW, replace(CHAT, address=None), "this network address"),
        (NARROW, replace(CHAT, address="not an address"), "this network address"),
        (Scope(models=("gpt-4o*",)), FILES, "this model"),
        (Scope(native_routes=("GET:v1/files/*",)), replace(FILES, method="DELETE"), "this route"),
        (Scope(native_routes=("GET:v1/files/*",)), replace(FILES, path="v1/files/f1/content"), "this route"),
        (Scope(native_routes=("GET:v1/files/*",)), replace(FILES, path="v1/files"), "this route"),
        (Scope(models=("GPT-4o",)), replace(CHAT, model="gpt-4o"), "this model"),
    ],
)
def test_a_request_outside_the_scope_is_refused_by_its_dimension(scope: Scope, wanted: Wanted, dimension: str) -> None:
    error = scope.error(wanted)
    assert error is not None
    assert dimension in error
    assert ITS not in error


_TEXTS = st.sampled_from(["a", "b", "ab", "a-b", "a.b", "aXb"])
_PATTERNS = st.sampled_from(["a", "*", "a*", "*b", "a*b", "a.b", "b"])


@given(st.lists(_PATTERNS, min_size=1, max_size=3), _TEXTS)
def test_a_pattern_of_models_means_what_a_shell_means(patterns: list[str], name: str) -> None:
    admitted = Scope(models=tuple(patterns)).error(replace(CHAT, model=name)) is None
    assert admitted == any(fnmatchcase(name, pattern) for pattern in patterns)


_NAMES = st.one_of(st.none(), st.lists(st.sampled_from(["one", "two", "three"]), min_size=1, max_size=3).map(tuple))


@given(_NAMES, _NAMES, _NAMES, st.sampled_from(["one", "two", "three", None]), st.sampled_from(["one", "two", None]))
def test_nothing_is_reached_that_a_dimension_does_not_name(tenants, providers, models, tenant, provider) -> None:
    scope = Scope(tenants, providers, models)
    wanted = Wanted(tenant=tenant, provider=provider, surface=Surface.OPENAI, model=provider)
    if scope.error(wanted) is None:
        for allowed, named in ((tenants, tenant), (providers, provider), (models, provider)):
            assert allowed is None or named in allowed


@given(_NAMES)
def test_an_event_holds_the_values_of_a_dimension_unchanged(names) -> None:
    assert names_of(stored_names(names)) == names


PROVIDERS = ("openai", "mistral")


def test_a_scope_that_is_asked_for_becomes_canonical() -> None:
    asked = {
        "tenants": [ITS, MINE, MINE],
        "native_routes": ["get:/v1/files/*"],
        "networks": ["2001:DB8::/32", "192.0.2.1", "::ffff:10.0.0.0/104", "::ffff:0:0/96"],
    }
    kept = scope_of(Role.RUNTIME, asked, PROVIDERS)
    assert kept.tenants == (MINE, ITS)
    assert kept.native_routes == ("GET:v1/files/*",)
    assert kept.networks == ("0.0.0.0/0", "10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32")


@each(
    ("role", "asked", "fields"),
    [
        (Role.RUNTIME, {"tenants": []}, ["tenants"]),
        (Role.RUNTIME, {"tenants": [MINE.replace("4", "")]}, ["tenants"]),
        (Role.RUNTIME, {"tenants": [MINE.upper().replace("1", "A")]}, ["tenants"]),
        (Role.RUNTIME, {"tenants": [MINE] * (VALUES_MAX + 1)}, ["tenants"]),
        (Role.RUNTIME, {"providers": ["acme"]}, ["providers"]),
        (Role.RUNTIME, {"models": ["a b"]}, ["models"]),
        (Role.RUNTIME, {"models": ["*a*a*a*a*a*"]}, ["models"]),
        (Role.RUNTIME, {"models": ["m" * 201]}, ["models"]),
        (Role.RUNTIME, {"surfaces": ["telnet"]}, ["surfaces"]),
        (Role.RUNTIME, {"native_routes": ["v1/files"]}, ["native_routes"]),
        (Role.RUNTIME, {"native_routes": ["GET:v1/a b"]}, ["native_routes"]),
        (Role.RUNTIME, {"networks": ["192.0.2.1/24"]}, ["networks"]),
        (Role.RUNTIME, {"networks": ["example.org"]}, ["networks"]),
        (Role.RUNTIME, {"networks": ["fe80::1%eth0"]}, ["networks"]),
        (Role.RUNTIME, {"models": ["gpt-4o"]}, ["surfaces"]),
        (Role.RUNTIME, {"surfaces": ["openai"], "native_routes": ["GET:v1/files"]}, ["native_routes"]),
        (Role.SYSADMIN, {"models": ["gpt-4o"], "surfaces": ["openai"]}, ["models", "surfaces"]),
        (Role.TENANT_ADMIN, {}, ["tenants"]),
        (Role.RUNTIME, {"tenants": [], "networks": ["x"]}, ["tenants", "networks"]),
    ],
)
def test_a_scope_that_breaks_a_rule_is_refused_by_its_field(role, asked, fields) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        scope_of(role, asked, PROVIDERS)
    assert [one.field for one in refused.value.fields] == fields
