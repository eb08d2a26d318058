"""The services behind the HTTP interface: all built by the composition root, none of them global.

Promises: endpoints reach the parts only through `Services`, so two applications in one process share nothing. A
`Services` never changes: when settings are reloaded another one takes its place, and a request that has begun ends with
the one it began with.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Protocol, TypeVar, cast

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry
from starlette.types import Scope

from api.front.auth import Authenticator
from api.front.bounds.chosen import Bounds
from api.front.callers import Callers
from api.front.check_result import CheckResult
from api.front.failed_keys import NO_LOCKOUT, LockoutPolicy
from api.front.identities import Identities, NoIdentities
from api.front.no_people import NoPeople
from api.front.people import People
from api.front.proxies import NO_PROXIES, TrustedProxies
from api.front.revoked_calls import RevokedCalls
from domain.access.key_usage import KeyUsage
from domain.access.service import AccessKeys
from domain.access.tenants import Tenants
from domain.approvals.service import Proposals
from domain.audit.entries import AuditTrail
from domain.audit.request_events import AuditRecorder
from domain.audit.token_usage import TokenUsage
from domain.audit.usage import CredentialUsage, UsageMeter
from domain.calls.messages import MessagesApi
from domain.calls.models import LanguageModels
from domain.calls.native import NativeApis
from domain.calls.openai_routes import RelayedRoutes
from domain.calls.prices import PriceTable
from domain.credentials.command_batch import AdminCommand
from domain.credentials.credential import Credential
from domain.credentials.fleet import Fleet
from domain.credentials.key_check import KeyChecks
from domain.credentials.providers import Providers
from domain.credentials.service import CredentialService
from domain.credentials.stored import PastCredentials, TenantCredentials
from domain.endpoints.rules import EndpointRules
from domain.events.event import Clock
from domain.operations.replay import Projections
from domain.operations.rotation import EncryptionKeys
from domain.proofs.proofs import TransparencyLog


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """The outcome of a reload, by names of settings: those now in force, and those that need a restart.

    warnings: not errors, but worth knowing, such as a name that resembles that of a setting.
    """

    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]
    warnings: tuple[str, ...] = ()


Readiness = Callable[[], Awaitable[Mapping[str, CheckResult]]]
Reload = Callable[[], Awaitable[ReloadReport]]
CarryOut = Callable[[AdminCommand], Awaitable[Credential]]
Hook = Callable[[], Awaitable[None]]
R = TypeVar("R")


class CarryOutAlone(Protocol):
    """Carries out a command that shares no statement with others, one such command at a time."""

    async def __call__(self, command: Callable[[], R], /) -> R:
        """Return the outcome once every node obeys it. Raises its error, StoreUnavailableError."""
        ...


async def _nothing() -> None:
    return None


def new_registry() -> CollectorRegistry:
    """Return an empty registry of metrics, for one application."""
    return CollectorRegistry(auto_describe=True)


@dataclass(frozen=True, slots=True)
class Services:
    """The parts behind the HTTP interface.

    callers: those with access keys; the authenticator knows the keys of the settings. identities: those with a token of
    a trusted issuer. people: those who sign in. revoked_calls: what is under way.
    carry_out: carries out a command; concurrent commands share a commit. carry_out_alone: one on an
    access key or on a tenant.
    proposals: of commands that need a second person.
    key_checks: ask providers about keys. providers: those that tenants may have credentials for.
    tenant_credentials: the feature switch; when off, everything about tenants' own credentials answers 404.
    audit_recorder: records events other than changes. usage: recorded use of credentials; usage_meter: use that is not
    stored yet. reason_required: changes need an X-Audit-Reason. proxies: those believed about a client's address.
    lockout: when an address that sends wrong keys is locked out.
    bounds: on what one caller can hold. token_usage: tokens and cost of calls. prices: of models.
    encryption_keys: None in a service without an encryption key, where the feature is off.
    readiness: runs the named checks of `/readyz`, within its own time limit.
    reload: reads the settings again; raises ConflictError, StoreUnavailableError.
    startup, shutdown: awaited once each, before the first request and after the last.
    registry: holds the metrics of this application; other packages may register collectors in it.
    """

    credentials: CredentialService
    carry_out: CarryOut
    listing: TenantCredentials
    fleet: Fleet
    models: LanguageModels
    native: NativeApis
    relayed: RelayedRoutes
    messages: MessagesApi
    audit: AuditTrail
    audit_recorder: AuditRecorder
    transparency: TransparencyLog
    usage: CredentialUsage
    token_usage: TokenUsage
    usage_meter: UsageMeter
    encryption_keys: EncryptionKeys | None
    projections: Projections
    past: PastCredentials
    authenticator: Authenticator
    callers: Callers
    revoked_calls: RevokedCalls
    access_keys: AccessKeys
    key_usage: KeyUsage
    tenants: Tenants
    proposals: Proposals
    carry_out_alone: CarryOutAlone
    key_checks: KeyChecks
    endpoint_rules: EndpointRules
    providers: Providers
    tenant_credentials: bool
    clock: Clock
    readiness: Readiness
    reload: Reload
    identities: Identities = field(default_factory=NoIdentities)
    people: People = field(default_factory=NoPeople)
    reason_required: bool = False
    proxies: TrustedProxies = NO_PROXIES
    lockout: LockoutPolicy = NO_LOCKOUT
    bounds: Bounds = field(default_factory=Bounds)
    prices: PriceTable = field(default_factory=PriceTable)
    startup: Hook = _nothing
    shutdown: Hook = _nothing
    registry: CollectorRegistry = field(default_factory=new_registry)


def services_of(request: Request) -> Services:
    """Return the services of the application that serves the request."""
    return services_in_force(request.scope)


def services_in_force(scope: Scope) -> Services:
    """Return the services for a request that begins now."""
    return cast(Services, scope["app"].state.services())


ServicesOf = Annotated[Services, Depends(services_of)]
