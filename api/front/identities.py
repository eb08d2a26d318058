"""Callers with a token of an issuer that the operator trusts.

Promises: a token counts only if one of the issuer's keys signed it; of every other token nothing is said but that it is
not a valid key. One that an issuer did sign, and that does not count, is refused with the reason, under the caller's
name. No text repeats a token or a claim.
"""

from dataclasses import dataclass
from typing import Protocol

from domain.access.identity import Identity, token_refused
from domain.errors import AccessError


@dataclass(frozen=True, slots=True)
class Recognised:
    """The caller of a token that counts."""

    name: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class Refused:
    """The caller of a token that a trusted issuer signed and that does not count. error: why."""

    name: str
    error: AccessError
    identity: None = None


class Identities(Protocol):
    """Knows the issuers that the operator trusts, and the rules for their tokens."""

    async def recognise(self, token: bytes) -> Recognised | Refused | None:
        """Return the caller of a token; None if no trusted issuer signed it.

        Raises AccessError where the keys of its issuer cannot be read.
        """
        ...

    def require(self, identity: Identity) -> Identity:
        """Return a caller as the rules see it now. Raises AccessError, also once its token has expired."""
        ...


class NoIdentities:
    """Trusts no issuer. Implements `Identities`."""

    async def recognise(self, token: bytes) -> Recognised | Refused | None:
        """Return None."""
        del token
        return None

    def require(self, identity: Identity) -> Identity:
        """Raise AccessError."""
        del identity
        raise token_refused("is of an issuer that this service no longer trusts")
