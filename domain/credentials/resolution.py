"""Decides whose key serves a call: the policy as a pure function, and the resolver that applies it.

The rules, in order:
0. Tenant credentials switched off: the global key. Otherwise a tenant that is frozen, lacks a required registration,
   or whose policy excludes the provider gets an error, and so does one whose rules cannot be read.
1. A model that is not tenant-capable: the global key.
2. The tenant has a credential: that one, with its own settings, or an error. Never the global key, whatever the error.
   A vllm credential without an endpoint uses the global vllm address with the tenant's key.
3. The tenant has none: the global key, unless the settings or the tenant's policy deny the fallback.
4. No key at all: NoCredentialError, which names the remedy.

That a tenant has none is proved by the head of its stream in the log, never by the projection: a row that was removed,
set back or marked as deleted is an integrity error. So is a newest event that no holder of the ledger's keys wrote, and
one that is older than an event that a call has seen; a deletion under a key that is not configured is an error until
the credential is set or deleted again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from domain.credentials.admission import Admission
from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.credential import Credential
from domain.credentials.newest_seen import NewestSeen
from domain.credentials.providers import Provider, Providers
from domain.credentials.secret import Sealer, Secret
from domain.credentials.stored import (
    CallRows,
    ResolutionProjection,
    Stored,
    head_of,
    require_token_of_log,
    require_written,
)
from domain.errors import NoCredentialError
from domain.events.event_code import NO_CODES, EventCodes
from domain.tenants.stored import TenantReader
from domain.tenants.tenant import Tenant


class Source(StrEnum):
    """The owner of the key that serves a call."""

    TENANT = "tenant"
    GLOBAL = "global"


@dataclass(frozen=True, slots=True)
class GlobalCredential:
    """The platform's own key for a provider."""

    secret: Secret
    endpoint: str | None = None
    api_version: str | None = None
    deployment_name: str | None = None


@dataclass(frozen=True, slots=True)
class ResolutionPolicy:
    """The operator's configuration.

    base_urls: by provider, addresses that replace the built-in ones, for tenants' and global keys; for vllm, the
    address of the global server. providers: all known ones. registration_required: of every tenant.
    """

    tenant_credentials: bool
    fallback_allowed: bool
    global_credentials: Mapping[str, GlobalCredential] = field(default_factory=dict)
    base_urls: Mapping[str, str] = field(default_factory=dict)
    providers: Providers = BUILT_IN
    registration_required: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """The credential that serves a call. version, key_id: of a tenant's credential; None for the global key."""

    source: Source
    provider: str
    version: int | None = None
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """The address and the credential of a call, not yet decrypted.

    tenant_endpoint: the tenant chose `base_url`, so the address it resolves to is checked when the call connects.
    """

    receipt: Receipt
    provider: Provider
    base_url: str
    tenant_endpoint: bool
    api_version: str | None
    deployment_name: str | None
    credential: Credential | None


@dataclass(frozen=True, slots=True)
class ResolvedCredential:
    """A route with its key, for the duration of one call."""

    route: Route
    secret: Secret

    @property
    def receipt(self) -> Receipt:
        """The receipt of the route."""
        return self.route.receipt


def choose(
    tenant: Tenant, provider: str, stored: Stored | None, policy: ResolutionPolicy, *, tenant_capable: bool
) -> Route:
    """Return the route of a tenant's call to a provider. stored: may be None only when tenant credentials do not apply.

    Raises NotFoundError, UnresolvableError, CredentialIntegrityError and NoCredentialError.
    """
    tenant_id, row = tenant.tenant_id, policy.providers.named(provider)
    if policy.tenant_credentials:
        tenant.require_usable(registration_required=policy.registration_required)
        tenant.policy.require_provider(provider)
    consulted = policy.tenant_credentials and tenant_capable
    credential = stored.current() if consulted and stored is not None else None
    if credential is not None:
        tenant.policy.require_endpoint(credential.config.endpoint)
        return _tenant_route(credential, row, policy)
    if consulted and not policy.fallback_allowed:
        raise NoCredentialError(tenant_id, provider, "the tenant has none and fallback to the global key is denied")
    if consulted and not tenant.policy.fallback:
        raise NoCredentialError(tenant_id, provider, "the tenant has none and its policy denies the global key")
    route = _global_route(row, policy)
    if route is not None:
        return route
    if consulted:
        raise NoCredentialError(tenant_id, provider, "neither the tenant nor the platform has one")
    why = "tenants' own keys are switched off" if tenant_capable else "only the platform's key serves this model"
    for_tenants = "" if tenant_capable else ", or give the model a litellm_model_name to let tenants' keys serve it"
    remedy = f"An operator has to configure the platform's key for {provider}{for_tenants}"
    raise NoCredentialError(tenant_id, provider, f"{why}, and there is none", remedy=remedy)


def _tenant_route(credential: Credential, provider: Provider, policy: ResolutionPolicy) -> Route:
    config, name = credential.config, credential.provider
    base_url = config.endpoint or policy.base_urls.get(name) or provider.base_url
    if base_url is None:
        raise NoCredentialError(
            credential.tenant_id, name, "the tenant's credential has no endpoint and no global address is configured"
        )
    key_id = credential.sealed.key_id if credential.sealed else None
    return Route(
        Receipt(Source.TENANT, name, credential.version, key_id),
        provider,
        base_url,
        config.endpoint is not None,
        config.api_version,
        config.deployment_name,
        credential,
    )


def _global_route(provider: Provider, policy: ResolutionPolicy) -> Route | None:
    found = policy.global_credentials.get(provider.name)
    base_url = found and (found.endpoint or policy.base_urls.get(provider.name) or provider.base_url)
    if not found or not base_url:
        return None
    receipt = Receipt(Source.GLOBAL, provider.name)
    return Route(receipt, provider, base_url, False, found.api_version, found.deployment_name, None)


class Resolver:
    """Resolves a call to the key that serves it.

    Raises the errors of `choose`, UnreadableCredentialError and CredentialIntegrityError from opening the credential,
    and StoreUnavailableError: without the store's answer, no key is used.
    """

    def __init__(
        self,
        projection: ResolutionProjection,
        sealer: Sealer,
        policy: ResolutionPolicy,
        tenants: TenantReader,
        codes: Callable[[], EventCodes] = lambda: NO_CODES,
        seen: NewestSeen | None = None,
    ) -> None:
        """tenants: reads the operator's rules for a tenant.

        codes: check the newest event of a credential before its key, or another, serves a call.
        seen: what calls have seen before; by default, what those of this resolver have.
        """
        self._tenants = tenants
        self._projection = projection
        self._sealer = sealer
        self._policy = policy
        self._codes = codes
        self._seen = seen if seen is not None else NewestSeen()

    @property
    def providers(self) -> Providers:
        """All known providers."""
        return self._policy.providers

    def route_of(self, credential: Credential) -> Route:
        """Return the route of calls with a credential of a tenant. Raises NotFoundError, NoCredentialError."""
        return _tenant_route(credential, self._policy.providers.named(credential.provider), self._policy)

    async def explain(self, tenant_id: str, provider: str, *, tenant_capable: bool) -> Route:
        """Return the route a call would take, or raise the error that would stop it. Decrypts and sends nothing."""
        stored, route = await self._route(tenant_id, provider, tenant_capable=tenant_capable)
        if route.credential is not None and route.credential.sealed is not None:
            self._sealer.check(route.credential.sealed, route.credential.context)
            require_token_of_log(stored)
        return route

    async def _route(
        self, tenant_id: str, provider: str, *, tenant_capable: bool, admission: Admission | None = None
    ) -> tuple[Stored, Route]:
        self._policy.providers.named(provider)  # before the store is read
        if self._policy.tenant_credentials:
            stored, tenant = await self._read(tenant_id, provider, admission, tenant_capable=tenant_capable)
        else:
            stored, tenant = Stored(None, None), Tenant(tenant_id)
            if admission is not None:
                await admission.read()
        return stored, choose(tenant, provider, stored, self._policy, tenant_capable=tenant_capable)

    async def _read(
        self, tenant_id: str, provider: str, admission: Admission | None, *, tenant_capable: bool
    ) -> tuple[Stored, Tenant]:
        """Read what decides a call, and admit the caller first: one who is not admitted learns nothing."""
        seen, place, rules = self._seen, (tenant_id, provider), ("tenant", tenant_id)
        before, rules_before = seen.of(place), seen.of(rules)
        if admission is None:
            rows = await self._projection.read(tenant_id, provider)
        else:
            rows = await self._read_for(tenant_id, provider, admission)
        tenant = self._tenants.tenant_of(tenant_id, rows.tenant)
        seen.note(rules, rules_before, head_of(rows.tenant.head))
        if tenant_capable:
            require_written(rows.stored, self._codes())
            seen.note(place, before, rows.stored.head)
        return rows.stored, tenant

    async def _read_for(self, tenant_id: str, provider: str, admission: Admission) -> CallRows:
        if admission.digest is None:  # of a caller whom an issuer or a session vouches for
            await admission.read()
            return await self._projection.read(tenant_id, provider)
        place = ("access key", admission.digest)
        before = self._seen.of(place)
        rows = await self._projection.read(tenant_id, provider, admission.digest)
        if rows.caller is not None and rows.caller.head is not None:
            self._seen.note(place, before, head_of(rows.caller.head))
        admission.admit(rows.caller)
        return rows

    async def resolve(
        self, tenant_id: str, provider: str, *, tenant_capable: bool, admission: Admission | None = None
    ) -> ResolvedCredential:
        """Return the route with its key. Both are read now; nothing is cached.

        admission: of a caller with an access key, decided on the same statement; raises AccessError.
        """
        stored, route = await self._route(tenant_id, provider, tenant_capable=tenant_capable, admission=admission)
        if route.credential is not None and route.credential.sealed is not None:
            secret = self._sealer.open(route.credential.sealed, route.credential.context)
            require_token_of_log(stored)
        else:
            secret = self._policy.global_credentials[provider].secret
        return ResolvedCredential(route, secret)
