"""The right of a caller to have a key resolved, decided on what the statement that resolves it says of the caller.

A caller with an access key is admitted by `domain.access.admission`, one with an issuer's token on that alone. The
contract is here because resolution asks before it looks at any credential, so that a caller who is not admitted learns
nothing.
"""

from typing import NamedTuple, Protocol

from domain.events.event_code import LogRow


class TokenRow(NamedTuple):
    """The row of an access key, and the newest event of the stream that it names; None where there is none.

    version: of the stream that the row shows. digest, previous: SHA-256 of the tokens that lead to the row.
    """

    version: int
    digest: str
    previous: str | None
    head: LogRow | None


class Admission(Protocol):
    """The admission of one call."""

    @property
    def digest(self) -> str | None:
        """The SHA-256 of the token of an access key; None for a caller of whom the ledger holds nothing to read."""
        ...

    async def read(self) -> None:
        """Read the token and decide, where no credential is read. Raises as `admit` does, and StoreUnavailableError."""
        ...

    def admit(self, found: TokenRow | None) -> None:
        """Decide on what was read of the token. Raises AccessError, CredentialIntegrityError."""
        ...
