"""Claims, conditions and rules: the first rule that fits decides, and a missing claim never widens a scope."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.access.identity import Claim, Condition, IdentityRule, Vouched, identity_of, name_of
from domain.access.roles import Role
from domain.access.scope import Scope
from domain.errors import AccessError, ErrorCode
from tests.support.scenario import NOW, OTHER_TENANT, TENANT

ISSUER = "https://issuer.example"
CLAIMS = {
    "sub": "app",
    "groups": ["billing", "ops"],
    "https://example.com/team": "red",
    "kubernetes.io": {"namespace": "billing", "pod": {"uid": 7}},
    "verified": True,
    "a/b": {"~c": "deep"},
    "tenants": [OTHER_TENANT, TENANT, TENANT],
}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("sub", ["app"]),
        ("groups", ["billing", "ops"]),
        ("https://example.com/team", ["red"]),
        ("/kubernetes.io/namespace", ["billing"]),
        ("/kubernetes.io/pod/uid", ["7"]),
        ("verified", ["true"]),
        ("/a~1b/~0c", ["deep"]),
        ("kubernetes.io", []),
        ("missing", []),
        ("/sub/more", []),
    ],
)
def test_a_claim_is_found_by_its_name_or_by_a_pointer(name: str, values: list[str]) -> None:
    assert Claim.read(name).values(CLAIMS) == values


def rule(role: Role | None, scope: Scope = Scope(), tenants_from: str | None = None, **claims: str) -> IdentityRule:
    conditions = tuple(Condition(Claim.read(name), (pattern,)) for name, pattern in claims.items())
    return IdentityRule(
        conditions, role, scope, tenants_from=None if tenants_from is None else Claim.read(tenants_from)
    )


def given_by(*rules: IdentityRule) -> tuple[Role, Scope] | str:
    try:
        identity = identity_of(Vouched(ISSUER, "name", CLAIMS), rules, NOW)
    except AccessError as error:
        assert error.code == ErrorCode.OUTSIDE_SCOPE
        return error.detail
    assert identity.terms.expires_at == NOW
    return identity.role, identity.terms.scope


def test_the_first_rule_that_fits_decides() -> None:
    billing = rule(Role.RUNTIME, Scope(tenants=(TENANT,)), groups="bill*")
    refusing = rule(None, sub="*")
    assert given_by(rule(Role.SYSADMIN, sub="root"), billing, refusing) == (Role.RUNTIME, Scope(tenants=(TENANT,)))
    assert "No rule" in str(given_by(refusing, billing))
    assert "No rule" in str(given_by(rule(Role.SYSADMIN, sub="app", groups="admins")))
    assert "No rule" in str(given_by())


def test_tenants_come_from_a_claim_that_names_them_by_uuid() -> None:
    both = tuple(sorted([TENANT, OTHER_TENANT]))
    found = given_by(rule(Role.RUNTIME, Scope(providers=("openai",)), "tenants", sub="app"))
    assert found == (Role.RUNTIME, Scope(tenants=both, providers=("openai",)))
    for claim in ("missing", "groups", "kubernetes.io", "verified"):
        assert "name the tenants" in str(given_by(rule(Role.RUNTIME, tenants_from=claim, sub="app"))), claim


@given(st.text(min_size=1, max_size=255), st.text(min_size=1, max_size=255))
def test_two_subjects_never_share_a_name_and_a_name_can_be_searched_for(one: str, other: str) -> None:
    try:
        names = [name_of(ISSUER, subject) for subject in (one, other)]
    except AccessError:  # it looks like a key
        return
    assert (names[0] == names[1]) == (one == other)
    assert all(name.isascii() and name.isprintable() and " " not in name for name in names)
