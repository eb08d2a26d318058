"""People who sign in with OpenID Connect, and their sessions.

Promises: a session admits a request only on what the log says of it during the request. No text repeats what a browser
keeps, or what the provider sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from domain.access.session import Session
from domain.credentials.admission import TokenRow
from domain.events.event import CommandMeta


@dataclass(frozen=True, slots=True)
class OpenedCookie:
    """The content of the cookie of a session. csrf_token: has to be sent back with every change.

    session: its id. actor: the name of the person in the audit trail. name: as the provider shows it.
    """

    session: str
    actor: str
    name: str = field(repr=False)
    csrf_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Leading:
    """The address that a browser is sent to, with a cookie to keep for so many seconds."""

    location: str = field(repr=False)
    cookie: str = field(repr=False)
    seconds: int


class People(Protocol):
    """Signs people in and out, and knows their sessions. secure: cookies are sent over TLS only."""

    secure: bool

    async def begin(self, return_to: str) -> Leading:
        """Return where a person signs in. return_to: a path of this service. Raises HttpError, AccessError."""
        ...

    async def finish(self, query: Mapping[str, str], cookie: str, meta: CommandMeta) -> Leading:
        """Return where a person is led who comes back from the provider, with the cookie of a new session.

        Raises HttpError, AccessError, StoreUnavailableError.
        """
        ...

    async def end(self, opened: OpenedCookie, meta: CommandMeta) -> None:
        """End a session on every node. Raises StoreUnavailableError."""
        ...

    async def sign_out_url(self) -> str | None:
        """Return where a person signs out of the provider, too; None where the provider names no such address."""
        ...

    def opened(self, cookie: str) -> OpenedCookie | None:
        """Return the content of a cookie; None if no node of this ledger wrote it."""
        ...

    async def read(self, opened: OpenedCookie) -> TokenRow | None:
        """Read what the log has of a session. Raises StoreUnavailableError."""
        ...

    def require(self, opened: OpenedCookie, found: TokenRow | None) -> Session:
        """Return the session as the log and the rules have it now. Raises AccessError, CredentialIntegrityError."""
        ...
