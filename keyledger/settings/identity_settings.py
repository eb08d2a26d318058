"""Callers besides those with keys, as the operator chose."""

from dataclasses import dataclass, field

from domain.access.identity import IdentityRule, Issuer
from domain.credentials.secret import Secret


@dataclass(frozen=True, slots=True)
class PeopleSettings:
    """The part of the file that is about people.

    name_claim: the claim with a person's name. scopes: those asked for. session_s: seconds that a session lasts.
    The others are those of an `Issuer`.
    """

    rules: tuple[IdentityRule, ...]
    algorithms: tuple[str, ...]
    scopes: tuple[str, ...]
    name_claim: str
    session_s: int
    skew_s: int
    ca_file: str | None


@dataclass(frozen=True, slots=True)
class SignInSettings:
    """The provider at which people sign in. redirect_url: where it leads them back to, `.../auth/callback`."""

    issuer: str
    client_id: str
    client_secret: Secret = field(repr=False)
    redirect_url: str


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """issuers: those whose tokens programs may present. people: the part about people, if the file has one.

    sign_in: where people sign in; None where they do not.
    """

    issuers: tuple[Issuer, ...] = ()
    people: PeopleSettings | None = None
    sign_in: SignInSettings | None = None
