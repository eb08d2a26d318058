"""The configuration of a call: one immutable value, read when the call starts.

Promises: a call uses the same configuration to its end, even if the service reloads its settings meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from domain.calls.native_rules import NativeRules
from domain.calls.prices import PriceTable
from domain.credentials.admission import Admission
from domain.credentials.resolution import ResolvedCredential, Resolver
from domain.endpoints.rules import EndpointRules, endpoint_error
from domain.errors import ProviderUnavailableError
from keyledger.settings.ai_models import Catalogue


@dataclass(frozen=True, slots=True)
class CallConfiguration:
    """catalogue: the models. resolver: finds keys. rules: the private hosts that tenants' endpoints may use.

    native: for calls to providers' own APIs. prices: of models.
    """

    catalogue: Catalogue
    resolver: Resolver
    rules: EndpointRules
    native: NativeRules = field(default_factory=NativeRules)
    prices: PriceTable = field(default_factory=PriceTable)

    async def resolve(
        self, tenant_id: str, provider: str, *, tenant_capable: bool, admission: Admission | None = None
    ) -> ResolvedCredential:
        """Return the key of a call and its route. admission: of a caller with an access key.

        Raises what `Resolver.resolve` raises, and ProviderUnavailableError for a tenant's endpoint that is no longer
        allowed: the rules may have been tightened since it was stored.
        """
        resolved = await self.resolver.resolve(tenant_id, provider, tenant_capable=tenant_capable, admission=admission)
        route = resolved.route
        if route.tenant_endpoint and endpoint_error(route.base_url, self.rules, self_hosted=route.provider.self_hosted):
            raise ProviderUnavailableError(provider, "endpoint-not-allowed")
        return resolved


CurrentCallConfiguration = Callable[[], CallConfiguration]
"""Returns the configuration in force."""
