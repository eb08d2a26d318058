"""The issuers in force and what their tokens are good for. Implements `api.front.identities.Identities`.

Promises: a token counts only for the issuer whose keys signed it, for one of the audiences that the operator listed,
from its `nbf` until its `exp`, and no longer than `max_age_s` after its `iat`, give or take the issuer's `skew_s`.
Rules are those in force: after a reload a request is judged by the new ones, also one that is under way.
Refuses: tokens without `exp` or `iat`, so that every one ends; that is how a token is revoked.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from api.front.identities import Recognised, Refused
from domain.access.identity import Identity, Issuer, Vouched, identity_of, name_of, token_refused
from domain.errors import AccessError
from domain.events.event import Clock
from keyledger.identity.issuer_keys import IssuerKeys
from keyledger.identity.signed_tokens import UncheckedToken, audiences_of, read_token, time_of


class TrustedIssuers:
    """Recognises tokens. keys_of: returns the keys of an issuer."""

    def __init__(self, issuers: Iterable[Issuer], keys_of: Callable[[Issuer], IssuerKeys], clock: Clock) -> None:
        self._issuers = {issuer.url: issuer for issuer in issuers}
        self._keys_of = keys_of
        self._clock = clock

    async def recognise(self, token: bytes) -> Recognised | Refused | None:
        """Return the caller of a token; None if no trusted issuer signed it. Raises AccessError."""
        unchecked = read_token(token)
        issuer = self._issuers.get(unchecked.issuer) if unchecked is not None else None
        if unchecked is None or issuer is None:
            return None
        claims = await checked(unchecked, issuer, self._keys_of(issuer))
        if claims is None:
            return None
        vouched = Vouched(issuer.url, name_of(issuer.url, claims.get("sub")), claims)
        try:
            return Recognised(vouched.name, self._identity(vouched, issuer))
        except AccessError as error:
            return Refused(vouched.name, error)

    def require(self, identity: Identity) -> Identity:
        """Return a caller as the rules see it now. Raises AccessError, also once its token has expired."""
        issuer = self._issuers.get(identity.vouched.issuer)
        if issuer is None:
            raise token_refused("is of an issuer that this service no longer trusts")
        return self._identity(identity.vouched, issuer)

    def _identity(self, vouched: Vouched, issuer: Issuer) -> Identity:
        if not set(audiences_of(vouched.claims)).intersection(issuer.audiences):
            raise token_refused("is for another audience than this service")
        ends = end_of(vouched.claims, issuer, self._clock().timestamp())
        return identity_of(vouched, issuer.rules, datetime.fromtimestamp(ends, UTC))


async def checked(token: UncheckedToken, issuer: Issuer, keys: IssuerKeys) -> Mapping[str, object] | None:
    """Return the claims of a token that one of the issuer's keys signed, else None. Raises AccessError."""
    known = await keys.current()
    claims = token.checked(known, issuer.algorithms)
    if claims is None and (newer := await keys.renewed()) is not known:
        claims = token.checked(newer, issuer.algorithms)
    return claims


def end_of(claims: Mapping[str, object], issuer: Issuer, now: float) -> float:
    """Return when a token stops counting, in seconds since 1970. Raises AccessError if it does not count now."""
    try:
        expires, issued, begins = (time_of(claims, name) for name in ("exp", "iat", "nbf"))
    except ValueError:
        raise token_refused("has a time that cannot be read") from None
    if expires is None or issued is None:
        raise token_refused("does not say when it was issued and when it expires (iat, exp)")
    if max(issued, begins or 0) > now + issuer.skew_s:
        raise token_refused("is not valid yet")
    if now >= expires + issuer.skew_s:
        raise token_refused("has expired")
    if now >= issued + issuer.max_age_s + issuer.skew_s:
        raise token_refused("was issued longer ago than this service accepts (max_age of its issuer)")
    return min(expires, issued + issuer.max_age_s) + issuer.skew_s
