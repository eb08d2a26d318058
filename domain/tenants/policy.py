"""The operator's policy for one tenant: what its calls and its credentials may use.

Promises: a policy is a value, and asking it is a pure function. The default allows everything that the settings of the
service allow; a policy only narrows that. An error says what the policy allows, which the tenant may know.
"""

from dataclasses import dataclass

from domain.errors import ErrorCode, UnresolvableError

_REMEDY = "An operator can change the policy."


@dataclass(frozen=True, slots=True)
class TenantPolicy:
    """providers: those that the tenant may use, with any key; None for all.

    own_endpoints: its credentials may name addresses of their own. fallback: without a credential it may use the global
    key, where GLOBAL_FALLBACK allows that too. key_check: a key is stored only if its provider accepts it.
    """

    providers: tuple[str, ...] | None = None
    own_endpoints: bool = True
    fallback: bool = True
    key_check: bool = False

    def require_provider(self, provider: str) -> None:
        """Raise UnresolvableError for a provider that the tenant may not use."""
        if self.providers is not None and provider not in self.providers:
            raise _outside(f"the provider {provider}. It allows: {', '.join(self.providers)}")

    def require_endpoint(self, endpoint: str | None) -> None:
        """Raise UnresolvableError for an address of the tenant's own that it may not have."""
        if endpoint is not None and not self.own_endpoints:
            raise _outside("credentials with an endpoint of the tenant's own")


DEFAULT_POLICY = TenantPolicy()
"""The policy of a tenant for which none was set."""


def _outside(what: str) -> UnresolvableError:
    return UnresolvableError(
        ErrorCode.OUTSIDE_POLICY, f"The operator's policy for this tenant does not allow {what}. {_REMEDY}"
    )
