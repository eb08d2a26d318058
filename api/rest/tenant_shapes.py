"""The JSON of tenants and of the operator's policies for them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.rest.examples import TENANT
from api.rest.schemas import Moment
from domain.access.tenants import LABELS_MAX, ChangedTenant, KnownTenant
from domain.tenants.policy import DEFAULT_POLICY, TenantPolicy
from domain.tenants.tenant import Tenant

Fallback = Literal["allow", "deny"]

POLICY_EXAMPLE: dict[str, Any] = {
    "providers": ["openai", "mistral"],
    "own_endpoints": False,
    "fallback": "deny",
    "key_check": True,
}
PROFILE_EXAMPLE: dict[str, Any] = {"name": "Acme Health", "labels": {"plan": "gold"}}
TENANT_EXAMPLE: dict[str, Any] = {
    "tenant_id": TENANT,
    **PROFILE_EXAMPLE,
    "registered": True,
    "frozen": False,
    "frozen_at": None,
    "policy": POLICY_EXAMPLE,
    "version": 3,
    "changed_at": "2026-01-31T12:00:00Z",
}
FROZEN_EXAMPLE = {**TENANT_EXAMPLE, "frozen": True, "frozen_at": "2026-01-31T12:00:00Z", "changed": True}
POLICY_ANSWER_EXAMPLE = {**POLICY_EXAMPLE, "default": False, "version": 3}


def _strict(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, json_schema_extra={"examples": [example]})


class TenantBody(BaseModel):
    """The name of a tenant and its labels. They replace the former ones completely."""

    model_config = _strict(PROFILE_EXAMPLE)

    name: Annotated[str, Field(description="1 to 200 printable characters.")]
    labels: Annotated[dict[str, str], Field(description=f"At most {LABELS_MAX} texts by name.")] = {}


class TenantPolicyBody(BaseModel):
    """The rules for calls and credentials of a tenant. A member that is left out gets its default.

    A policy only narrows what the settings of the service allow.
    """

    model_config = _strict(POLICY_EXAMPLE)

    providers: list[str] | None = Field(None, description="Names of providers, with any key; null: all.")
    own_endpoints: bool = Field(True, description="Whether credentials may name an endpoint.")
    fallback: Fallback = Field("allow", description="`deny`: without a credential an error, not the global key.")
    key_check: bool = Field(False, description="Whether a key is stored only if its provider accepts it.")

    def policy(self) -> TenantPolicy:
        """Return the policy. Its providers are sorted, each once."""
        providers = None if self.providers is None else tuple(sorted(set(self.providers)))
        return TenantPolicy(providers, self.own_endpoints, self.fallback == "allow", self.key_check)


class TenantPolicyView(TenantPolicyBody):
    """The policy of a tenant."""

    model_config = ConfigDict(json_schema_extra={"examples": [POLICY_EXAMPLE]})


class TenantPolicyAnswer(TenantPolicyView):
    """The policy of a tenant, as it is now. default: it is the one that every tenant has unless another is set."""

    default: bool
    version: int = Field(description="Of the tenant: every change of it counts. 0: no one has said anything about it.")


class TenantRecord(BaseModel):
    """A tenant as the operator sees it. Any UUID is one; `version` 0 says that nothing was recorded about it."""

    tenant_id: str
    name: str | None = Field(description="Null unless it is registered and its name can be read.")
    labels: dict[str, str]
    registered: bool
    frozen: bool
    frozen_at: Moment | None
    policy: TenantPolicyView
    version: int
    changed_at: Moment | None


class ChangedTenantRecord(TenantRecord):
    """A tenant after a command. changed: false where the tenant already was as the command asked."""

    changed: bool


def policy_view(policy: TenantPolicy) -> TenantPolicyView:
    """Return a policy as it is shown."""
    return TenantPolicyView(**_policy(policy))


def policy_answer(tenant: Tenant) -> TenantPolicyAnswer:
    """Return the policy of a tenant with the tenant's version."""
    default = tenant.policy == DEFAULT_POLICY
    return TenantPolicyAnswer(**_policy(tenant.policy), default=default, version=tenant.version)


def record_of(known: KnownTenant) -> TenantRecord:
    """Return a tenant as it is shown."""
    tenant, profile = known.tenant, known.profile
    return TenantRecord(
        tenant_id=tenant.tenant_id,
        name=profile.name if profile is not None else None,
        labels=dict(profile.labels) if profile is not None else {},
        registered=tenant.registered,
        frozen=tenant.frozen_at is not None,
        frozen_at=tenant.frozen_at,
        policy=policy_view(tenant.policy),
        version=tenant.version,
        changed_at=tenant.changed_at,
    )


def changed_record_of(outcome: ChangedTenant) -> ChangedTenantRecord:
    """Return a tenant after a command."""
    return ChangedTenantRecord(**record_of(outcome.known).model_dump(), changed=outcome.changed)


def _policy(policy: TenantPolicy) -> dict[str, Any]:
    return {
        "providers": None if policy.providers is None else list(policy.providers),
        "own_endpoints": policy.own_endpoints,
        "fallback": "allow" if policy.fallback else "deny",
        "key_check": policy.key_check,
    }
