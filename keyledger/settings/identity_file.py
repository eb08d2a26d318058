"""Reads the issuers that the operator trusts, and the rules for their tokens, from `identity.yml`.

    issuers:
      - name: cluster
        url: https://kubernetes.default.svc
        audience: keyledger
        rules:
          - claims: {sub: "system:serviceaccount:billing:*"}
            role: runtime
            tenants: [3f0c8a52-9b1d-4e6f-8a27-5d4c3b2a1f09]

Docs: docs/access.md. Refuses: a file with any error, all of which are reported with their lines; algorithms with a
shared secret, and `none`; issuers that would be asked without TLS; rules that no claim limits; members without a value.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import yaml

from domain.access.identity import ALGORITHMS, Claim, Condition, IdentityRule, Issuer
from domain.access.key_limits import KeyLimits
from domain.access.roles import Role
from domain.access.scope import DIMENSIONS, Names, Scope
from domain.access.scope_rules import STARS_MAX, scope_of
from domain.endpoints.issuers import issuer_address_error
from domain.errors import InvalidRequestError
from keyledger.settings.identity_settings import IdentitySettings, PeopleSettings
from keyledger.settings.yaml_document import Document, read_document

NO_ROLE = "none"
"""In a rule, the role of callers that may do nothing."""
_USUAL = ("RS256", "ES256")
_ISSUER = ("name", "url", "audience", "algorithms", "jwks_url", "ca_file", "clock_skew", "max_age", "rules")
_PEOPLE = ("rules", "algorithms", "scopes", "name_claim", "session_minutes", "clock_skew", "ca_file")
_RULE = ("claims", "role", "tenants_from", "requests_per_minute", "concurrent_calls", *DIMENSIONS)
_NULL = "tag:yaml.org,2002:null"
_WITH_DEFAULT = frozenset({"tenants_from", "requests_per_minute", "concurrent_calls", "jwks_url", "ca_file"}) | {
    *("clock_skew", "max_age", "name_claim", "session_minutes")
}
"""Members that mean something else where they are left out: one without a value must not be taken for that."""
_LIMIT_MAX = 1_000_000
_ANY_TENANT = ("00000000-0000-0000-0000-000000000000",)
"""Stands for the tenants that a claim will name, where a scope is checked as a whole."""

Members = dict[str, yaml.Node]


def load_identity(path: Path, providers: Collection[str]) -> IdentitySettings:
    """Return what the file says. providers: those that exist. Raises SettingsError."""
    document = read_document(path)
    members = _members(document, document.root, ("issuers", "people"), "the file")
    entries = document.entries(members["issuers"], "issuers") if "issuers" in members else []
    issuers = [issuer for entry in entries if (issuer := _issuer(document, entry, providers)) is not None]
    for member, node in (("name", entries), ("url", entries)):
        values = [getattr(issuer, member) for issuer in issuers]
        for value in {one for one in values if values.count(one) > 1}:
            document.error(node[values.index(value)], f"two issuers have the same {member}")
    people = _people(document, members["people"], providers) if "people" in members else None
    document.close()
    return IdentitySettings(tuple(issuers), people)


def _issuer(document: Document, entry: yaml.Node, providers: Collection[str]) -> Issuer | None:
    before = len(document.errors)
    members = _members(document, entry, _ISSUER, "an issuer")
    name, url = (document.text(one, members, entry, required=True) or "" for one in ("name", "url"))
    jwks_url = document.text("jwks_url", members, entry)
    for member, address in (("url", url), ("jwks_url", jwks_url)):
        if address and (error := issuer_address_error(address)):
            document.error(members[member], f"{member} {error}")
    audiences = _texts(document, members, "audience", entry, required=True)
    algorithms = _algorithms(document, members, entry)
    rules = _rules(document, members, entry, providers)
    skew, age = _number(document, members, "clock_skew", 60, 0, 300), _number(document, members, "max_age", 3600, 60)
    ca_file = document.text("ca_file", members, entry)
    if len(document.errors) > before:
        return None
    return Issuer(name, url, audiences, algorithms, rules, jwks_url, ca_file, skew, age)


def _people(document: Document, entry: yaml.Node, providers: Collection[str]) -> PeopleSettings:
    members = _members(document, entry, _PEOPLE, "people")
    return PeopleSettings(
        _rules(document, members, entry, providers),
        _algorithms(document, members, entry),
        _texts(document, members, "scopes", entry) or ("openid", "profile", "email"),
        document.text("name_claim", members, entry) or "name",
        _number(document, members, "session_minutes", 480, 5, 1440) * 60,
        _number(document, members, "clock_skew", 60, 0, 300),
        document.text("ca_file", members, entry),
    )


def _algorithms(document: Document, members: Members, entry: yaml.Node) -> Names:
    algorithms = _texts(document, members, "algorithms", entry) or _USUAL
    if set(algorithms) - set(ALGORITHMS):
        document.error(members["algorithms"], f"algorithms must be among {', '.join(ALGORITHMS)}")
    return algorithms


def _rules(
    document: Document, members: Members, entry: yaml.Node, providers: Collection[str]
) -> tuple[IdentityRule, ...]:
    if "rules" not in members or not (entries := document.entries(members["rules"], "rules")):
        document.error(members.get("rules", entry), "rules are missing: without one, no caller may do anything")
        return ()
    return tuple(rule for one in entries if (rule := _rule(document, one, providers)) is not None)


def _rule(document: Document, entry: yaml.Node, providers: Collection[str]) -> IdentityRule | None:
    before = len(document.errors)
    members = _members(document, entry, _RULE, "a rule")
    conditions = _conditions(document, members, entry)
    role = _role(document, members, entry)
    tenants_from = document.text("tenants_from", members, entry)
    if tenants_from is not None and "tenants" in members:
        document.error(members["tenants_from"], "tenants_from and tenants exclude each other; keep one of them")
    asked = {one: _texts(document, members, one, entry) for one in DIMENSIONS if one in members}
    scope = _scope(document, entry, members, role, asked, providers, from_claim=tenants_from is not None)
    limits = [_number(document, members, one, 0, 0, _LIMIT_MAX) for one in ("requests_per_minute", "concurrent_calls")]
    if len(document.errors) > before:
        return None
    claim = Claim.read(tenants_from) if tenants_from is not None else None
    return IdentityRule(conditions, role, scope, KeyLimits(limits[0], limits[1]), claim)


def _conditions(document: Document, members: Members, entry: yaml.Node) -> tuple[Condition, ...]:
    node = members.get("claims")
    if not isinstance(node, yaml.MappingNode) or not node.value:
        document.error(node or entry, 'claims must name at least one claim with its values; "*" stands for any')
        return ()
    claims = document.members(node)
    found = [Condition(Claim.read(name), _texts(document, claims, name, node, required=True)) for name in claims]
    for name, condition in zip(claims, found, strict=True):
        if any(pattern.count("*") > STARS_MAX for pattern in condition.patterns):
            document.error(claims[name], f"each value may have at most {STARS_MAX} times *")
    return tuple(found)


def _role(document: Document, members: Members, entry: yaml.Node) -> Role | None:
    text = document.text("role", members, entry, required=True)
    if text in {*Role, NO_ROLE}:
        return None if text == NO_ROLE else Role(str(text))
    if text is not None:
        document.error(members["role"], f"role must be one of {', '.join(Role)}, or {NO_ROLE} to refuse")
    return None


def _scope(
    document: Document,
    entry: yaml.Node,
    members: Members,
    role: Role | None,
    asked: dict[str, Names],
    providers: Collection[str],
    *,
    from_claim: bool,
) -> Scope:
    if role is None:
        for name in sorted(asked):
            document.error(members[name], f"{name} must be left out: the role {NO_ROLE} may do nothing")
        return Scope()
    try:
        scope = scope_of(role, {**asked, **({"tenants": _ANY_TENANT} if from_claim else {})}, providers)
    except InvalidRequestError as error:
        for invalid in error.fields:
            document.error(members.get(invalid.field, entry), f"{invalid.field} {invalid.rule}")
        return Scope()
    return Scope(**{**{name: getattr(scope, name) for name in DIMENSIONS}, "tenants": None}) if from_claim else scope


def _members(document: Document, node: yaml.Node | None, known: Sequence[str], what: str) -> Members:
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        document.error(node, f"{what} must be a mapping with {', '.join(known[:3])}")
        return {}
    members = document.members(node)
    for unknown in members.keys() - set(known):
        document.error(members[unknown], f"'{unknown}' is not known; use {', '.join(known)}")
    for name in sorted(members.keys() & _WITH_DEFAULT):
        if members[name].tag == _NULL:
            document.error(members[name], f"{name} must not be empty; leave it out instead")
    return members


def _texts(document: Document, members: Members, name: str, entry: yaml.Node, *, required: bool = False) -> Names:
    """Return the texts of a member, which is one text or a list of them."""
    node = members.get(name)
    if node is None:
        if required:
            document.error(entry, f"{name} is missing")
        return ()
    nodes = list(node.value) if isinstance(node, yaml.SequenceNode) else [node]
    if not nodes:
        document.error(node, f"{name} must not be empty; leave it out instead")
    return tuple(text for one in nodes if (text := document.plain_text(one, name)) is not None)


def _number(document: Document, members: Members, name: str, default: int, least: int, most: int = 86_400) -> int:
    value = document.number(name, members, default)
    if not least <= value <= most:
        document.error(members[name], f"{name} must be from {least} to {most}")
    return value
