"""What a call is made with, as one value that is read when it begins.

Promises: a call ends with what it began with, whatever is put in its place meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from domain.credentials.resolution import ResolvedCredential, Route
from domain.endpoints.rules import EndpointRules
from keyledger.settings.ai_models import Catalogue


class Resolving(Protocol):
    """Finds the key for a call, as `domain.credentials.resolution.Resolver` does."""

    async def explain(self, tenant_id: str, provider: str, *, tenant_capable: bool) -> Route:
        """Return the route a call would take."""
        ...

    async def resolve(self, tenant_id: str, provider: str, *, tenant_capable: bool) -> ResolvedCredential:
        """Return the route with its key."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """The models there are, how keys are found, and which private hosts tenants' endpoints may lead to."""

    catalogue: Catalogue
    resolver: Resolving
    rules: EndpointRules


CurrentMeans = Callable[[], Means]
"""Returns those in force."""
