"""The contract of asking a provider whether it accepts a key."""

from typing import Protocol

from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import Secret


class KeyChecks(Protocol):
    """Asks providers about keys, with one request that costs nothing and does nothing."""

    async def require_accepted(self, tenant_id: str, provider: str, secret: Secret, config: CredentialConfig) -> None:
        """Return if the provider accepts a key that is not stored yet.

        Raises InvalidRequestError if it rejects the key, and ProviderError where it does not say.
        """
        ...
