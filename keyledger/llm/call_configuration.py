"""The configuration of a call: one immutable value, read when the call starts.

Promises: a call uses the same configuration to its end, even if the service reloads its settings meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass

from domain.credentials.resolution import Resolver
from domain.endpoints.rules import EndpointRules
from keyledger.settings.ai_models import Catalogue


@dataclass(frozen=True, slots=True)
class CallConfiguration:
    """catalogue: the models. resolver: finds keys. rules: the private hosts that tenants' endpoints may use."""

    catalogue: Catalogue
    resolver: Resolver
    rules: EndpointRules


CurrentCallConfiguration = Callable[[], CallConfiguration]
"""Returns the configuration in force."""
