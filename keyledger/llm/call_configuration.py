"""What a call is made with, as one value that is read when it begins.

Promises: a call ends with what it began with, whatever is put in its place meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass

from domain.credentials.resolution import Resolver
from domain.endpoints.rules import EndpointRules
from keyledger.settings.ai_models import Catalogue


@dataclass(frozen=True, slots=True)
class CallConfiguration:
    """The models there are, how keys are found, and which private hosts tenants' endpoints may lead to."""

    catalogue: Catalogue
    resolver: Resolver
    rules: EndpointRules


CurrentCallConfiguration = Callable[[], CallConfiguration]
"""Returns those in force."""
