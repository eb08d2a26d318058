"""Callers whom an issuer vouches for, and the rules that say what the claims of its tokens are good for.

Promises: the rules of an issuer are tried in their order, and the first one whose claims all match decides; a rule
without a role refuses. A claim that a token lacks matches nothing, and one that is to name the tenants has to name at
least one, so a missing claim never widens a scope. A caller is named by issuer and subject, which no one else shares.
Refuses: a subject that is missing, too long, or an API key, since the audit trail stores it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

from domain.access.access_key import AccessTerms
from domain.access.key_limits import KeyLimits
from domain.access.roles import Role
from domain.access.scope import Names, Scope, fits_pattern
from domain.access.scope_rules import TENANT, VALUES_MAX
from domain.credentials.key_shapes import holds_key
from domain.errors import AccessError, ErrorCode

Claims = Mapping[str, object]

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "Ed25519"),
)
"""Algorithms of signatures that an operator can choose from: those with public keys (RFC 7518, RFC 9864)."""
SUBJECT_MAX = 255
_PLAIN = "!\"$&'()*+,/:;<=>?@[\\]^`{|}"
"""Characters of a subject that its name keeps, besides letters, digits and `_.-~`."""
_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half a character, which JSON can escape and nothing can store."""
_NO_RULE = "No rule of this service gives a role to a caller with the claims of this token. Ask an operator for one."


@dataclass(frozen=True, slots=True)
class Claim:
    """The place of a claim: the names of members from the outside in, as the steps of a JSON pointer (RFC 6901)."""

    steps: tuple[str, ...]

    @classmethod
    def read(cls, text: str) -> "Claim":
        """Return the claim of a name such as `sub`, or of a pointer such as `/kubernetes.io/namespace`."""
        if not text.startswith("/"):
            return cls((text,))
        return cls(tuple(step.replace("~1", "/").replace("~0", "~") for step in text[1:].split("/")))

    def values(self, claims: Claims) -> Sequence[str]:
        """Return the values of the claim as texts: one, those of a list, or none."""
        found: object = claims
        for step in self.steps:
            found = found.get(step) if isinstance(found, Mapping) else None
        listed = found if isinstance(found, list) else [found]
        return [text for one in listed if (text := _text(one)) is not None]


@dataclass(frozen=True, slots=True)
class Condition:
    """A claim and the patterns of which one of its values has to match one. `*` stands for any characters."""

    claim: Claim
    patterns: Names

    def holds(self, claims: Claims) -> bool:
        """Whether a token has a value that fits."""
        values = self.claim.values(claims)
        return any(fits_pattern(one, value) for one in self.patterns for value in values)


@dataclass(frozen=True, slots=True)
class IdentityRule:
    """The right of callers with certain claims. role: None for none.

    tenants_from: the claim that names the tenants; None where `scope` does.
    """

    conditions: tuple[Condition, ...]
    role: Role | None
    scope: Scope = field(default_factory=Scope)
    limits: KeyLimits = field(default_factory=KeyLimits)
    tenants_from: Claim | None = None

    @property
    def claims(self) -> frozenset[Claim]:
        """The claims that decide whether it fits, and for which tenants."""
        named = frozenset(condition.claim for condition in self.conditions)
        return named if self.tenants_from is None else named | {self.tenants_from}

    def fits(self, claims: Claims) -> bool:
        """Whether all conditions hold."""
        return all(condition.holds(claims) for condition in self.conditions)

    def scope_for(self, claims: Claims) -> Scope | None:
        """Return the scope of a caller; None where the claim that is to name the tenants names none, or no tenant."""
        if self.tenants_from is None:
            return self.scope
        tenants = sorted(set(self.tenants_from.values(claims)))
        if not 1 <= len(tenants) <= VALUES_MAX or not all(map(TENANT.fullmatch, tenants)):
            return None
        one = self.scope
        return Scope(tuple(tenants), one.providers, one.models, one.surfaces, one.native_routes, one.networks)


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer of tokens that the operator trusts. url: the `iss` of its tokens.

    audiences: of which a token has to name one. algorithms: of its signatures. jwks_url: where its keys are; None where
    its discovery document says so. ca_file: of certificates that vouch for it; None for those of the system.
    skew_s: how far its clock may differ from this one. max_age_s: how long a token counts, at most, from its `iat`.
    """

    name: str
    url: str
    audiences: Names
    algorithms: Names
    rules: tuple[IdentityRule, ...]
    jwks_url: str | None = None
    ca_file: str | None = None
    skew_s: int = 60
    max_age_s: int = 3600


@dataclass(frozen=True, slots=True)
class Vouched:
    """The claims of a token that an issuer signed. name: of the caller, in the audit trail."""

    issuer: str
    name: str
    claims: Claims = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller with the right that a rule gives. terms: `expires_at` is when the token no longer counts."""

    vouched: Vouched
    role: Role
    terms: AccessTerms

    @property
    def name(self) -> str:
        """The name of the caller."""
        return self.vouched.name


def name_of(issuer: str, subject: object) -> str:
    """Return the name of a caller: `ISSUER#SUBJECT`, without blanks. Raises AccessError."""
    if not isinstance(subject, str) or not 1 <= len(subject) <= SUBJECT_MAX or _SURROGATE.search(subject):
        raise token_refused("names no subject that can be recorded")
    if holds_key(subject):
        raise token_refused("has an API key for its subject, which would be recorded in clear")
    return f"{issuer}#{quote(subject, safe=_PLAIN)}"


def identity_of(vouched: Vouched, rules: Sequence[IdentityRule], expires_at: datetime) -> Identity:
    """Return the caller as the rules see it. Raises AccessError where none gives it a role."""
    rule = next((one for one in rules if one.fits(vouched.claims)), None)
    if rule is None or rule.role is None:
        raise AccessError(ErrorCode.OUTSIDE_SCOPE, _NO_RULE)
    if (scope := rule.scope_for(vouched.claims)) is None:
        detail = "The claim that is to name the tenants of this caller names none, or not by their UUIDs."
        raise AccessError(ErrorCode.OUTSIDE_SCOPE, f"{detail} Ask the issuer's administrator.")
    return Identity(vouched, rule.role, AccessTerms(scope, rule.limits, expires_at))


def token_refused(why: str) -> AccessError:
    """Return the error for a token of a trusted issuer that does not count. why: completes "This token"."""
    return AccessError(ErrorCode.TOKEN_REFUSED, f"This token {why}. Get another from its issuer.")


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int) else None
