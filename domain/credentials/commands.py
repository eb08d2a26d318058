"""Commands on one credential, with the conditions under which they are to be carried out."""

from dataclasses import dataclass, replace

from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import Secret
from domain.endpoints.forms import EndpointForm, kept_endpoint
from domain.events.event import CommandMeta


@dataclass(frozen=True, slots=True)
class Precondition:
    """A condition on the present state (RFC 9110, 13.1).

    versions: those allowed, None for any. exists: whether a credential must exist, None for either.
    """

    versions: frozenset[int] | None = None
    exists: bool | None = None


@dataclass(frozen=True, slots=True)
class SetCredential:
    """Store this key and these settings for the tenant, replacing any that are stored.

    endpoint_form: the form of the endpoint in `config`; a stored endpoint that reduces to the same form counts as the
    same. None: only an equal text counts as the same. accepted: the provider accepted this key at these settings.
    """

    tenant_id: str
    provider: str
    secret: Secret
    config: CredentialConfig
    meta: CommandMeta
    precondition: Precondition = Precondition()
    endpoint_form: EndpointForm | None = None
    accepted: bool = False

    def says(self, stored: CredentialConfig) -> bool:
        """Return whether the settings are the stored ones."""
        if self.config == stored or self.endpoint_form is None or stored.endpoint is None:
            return self.config == stored
        return self.config == replace(stored, endpoint=kept_endpoint(self.endpoint_form, stored.endpoint))


@dataclass(frozen=True, slots=True)
class DeleteCredential:
    """Delete the tenant's credential for the provider. by_operator: even if the tenant is frozen."""

    tenant_id: str
    provider: str
    meta: CommandMeta
    precondition: Precondition = Precondition()
    by_operator: bool = False


@dataclass(frozen=True, slots=True)
class ReencryptCredential:
    """Seal the tenant's credential under the primary encryption key, without any other change."""

    tenant_id: str
    provider: str
    meta: CommandMeta
    precondition: Precondition = Precondition()


Command = SetCredential | DeleteCredential | ReencryptCredential
