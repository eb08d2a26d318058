"""Credentials for administrators: the commands of `command_batch`, and what a list shows.

Promises: reads decrypt nothing, except to find the stored key in a text. A damaged credential is listed as unreadable
instead of hiding the others.
"""

from collections.abc import Sequence

from domain.credentials.command_batch import CredentialCommands
from domain.credentials.credential import Credential
from domain.credentials.key_shapes import holds_key
from domain.credentials.stored import CredentialStatus, Stored
from domain.errors import CredentialNotFoundError, ServiceError


class CredentialService(CredentialCommands):
    """The commands and the reads of administrators."""

    def get(self, tenant_id: str, provider: str) -> CredentialStatus:
        """Return a live credential. Raises CredentialNotFoundError, CredentialIntegrityError."""
        stored = self._projection.read(tenant_id, provider)
        credential = stored.current()
        if credential is None:
            raise CredentialNotFoundError(tenant_id, provider)
        return self._status(credential, stored)

    def of_tenant(self, tenant_id: str) -> list[CredentialStatus]:
        """Return the live credentials of a tenant, by provider. A damaged one is listed as unreadable."""
        return self.statuses(self._projection.of_tenant(tenant_id))

    def statuses(self, found: Sequence[Stored]) -> list[CredentialStatus]:
        """Return the status of each live credential among those read. Reads and decrypts nothing."""
        return [self._status(one.shown, one) for one in found if one.shown is not None]

    def stored_key_is_in(self, tenant_id: str, provider: str, text: str) -> bool:
        """Return whether a text contains the key of a live credential. Only for callers who may replace that key.

        Raises CredentialIntegrityError, UnreadableCredentialError.
        """
        credential = self._projection.read(tenant_id, provider).current()
        if credential is None or credential.sealed is None:
            return False
        return holds_key(text, [self._sealer.open(credential.sealed, credential.context)])

    def _status(self, credential: Credential, stored: Stored) -> CredentialStatus:
        used = stored.last_used_at
        tried = stored.answered or used is not None
        return CredentialStatus(credential, self._opens(stored), stored.rejected, tried, used)

    def _opens(self, stored: Stored) -> bool:
        """Return whether projection and log agree on a live credential and it can be opened."""
        try:
            credential = stored.current()
            if credential is None or credential.sealed is None:
                return False
            self._sealer.check(credential.sealed, credential.context)
        except ServiceError:
            return False
        return True
