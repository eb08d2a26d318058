"""The contract of asking a provider whether it accepts a key."""

from dataclasses import dataclass
from typing import Protocol

from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import Secret


@dataclass(frozen=True, slots=True)
class KeyVerdict:
    """The word of a provider on a stored key. version: of the credential."""

    version: int
    accepted: bool


class KeyChecks(Protocol):
    """Asks providers about keys, with one request that costs nothing and does nothing."""

    async def require_accepted(self, tenant_id: str, provider: str, secret: Secret, config: CredentialConfig) -> None:
        """Return if the provider accepts a key that is not stored yet.

        Raises InvalidRequestError if it rejects the key, and ProviderError where it does not say.
        """
        ...

    async def check_stored(self, tenant_id: str, provider: str) -> KeyVerdict:
        """Return what the provider says of the key that is stored. It counts as a call, and for the credential's state.

        Raises what resolution raises, CredentialNotFoundError where the tenant has no key of its own, and ProviderError
        where the provider does not say.
        """
        ...
