"""The ground on which a caller is admitted: an access key, the word of an issuer, or a session.

Promises: `require` decides on what was read for it, and on what the operator's rules say now. Nothing that an earlier
request found out admits a later one.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from api.front.identities import Identities
from api.front.people import OpenedCookie, People
from domain.access.access_key import AccessTerms
from domain.access.admission import KeyReader
from domain.access.identity import Identity
from domain.access.session import Session
from domain.credentials.admission import TokenRow

ReadToken = Callable[[str], Awaitable[TokenRow | None]]
"""Returns what the ledger has of a token's digest, read in one statement now. Raises StoreUnavailableError."""


class Admitted(Protocol):
    """A caller who may do something. name: in the audit trail."""

    @property
    def name(self) -> str:
        """The name in the audit trail."""
        ...

    @property
    def terms(self) -> AccessTerms:
        """The right of the caller."""
        ...


class Standing(Protocol):
    """The ground on which one request asks to be admitted. digest: of the token of an access key; else None."""

    @property
    def digest(self) -> str | None:
        """The SHA-256 of the token of an access key; None for other callers."""
        ...

    async def read(self) -> TokenRow | None:
        """Read what `require` needs now. Raises StoreUnavailableError."""
        ...

    def require(self, found: TokenRow | None) -> Admitted:
        """Return the caller as it stands now. Raises AccessError, CredentialIntegrityError."""
        ...


class KeyStanding:
    """The standing of a token of an access key."""

    def __init__(self, digest: str, read: ReadToken, reader: KeyReader) -> None:
        self.digest = digest
        self._read = read
        self._reader = reader

    async def read(self) -> TokenRow | None:
        """Read what the ledger has of the token."""
        return await self._read(self.digest)

    def require(self, found: TokenRow | None) -> Admitted:
        """Return the key, if the token may be used."""
        return self._reader.usable(self.digest, found)


class IdentityStanding:
    """The standing of a token of a trusted issuer. identities: returns what the rules in force say."""

    digest = None

    def __init__(self, identity: Identity, identities: Callable[[], Identities]) -> None:
        self._identity = identity
        self._identities = identities

    async def read(self) -> TokenRow | None:
        """Read nothing: the token says everything."""
        return None

    def require(self, found: TokenRow | None) -> Admitted:
        """Return the caller, unless the token has expired or the rules no longer admit it."""
        del found
        return self._identities().require(self._identity)


class SessionStanding:
    """The standing of a session. people: returns those of the configuration in force."""

    digest = None

    def __init__(self, opened: OpenedCookie, people: Callable[[], People]) -> None:
        self._opened = opened
        self._people = people

    async def read(self) -> TokenRow | None:
        """Read what the log has of the session."""
        return await self._people().read(self._opened)

    def require(self, found: TokenRow | None) -> Session:
        """Return the session, if it has not ended."""
        return self._people().require(self._opened, found)
