"""What the HTTP interface is handed: every part built, none of them global.

Promises: endpoints reach the parts only through `Services`, so two applications in one process share nothing. A
`Services` never changes: when settings are read again another one takes its place, and a request that has begun ends
with the one it began with.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry
from starlette.types import Scope

from api.front.auth import Authenticator
from api.front.proxies import NO_PROXIES, TrustedProxies
from domain.audit.entries import AuditTrail
from domain.audit.events import AuditRecorder
from domain.audit.usage import CredentialUsage, UsageMeter
from domain.calls.models import LanguageModels
from domain.calls.native import NativeApis
from domain.credentials.command_batch import AdminCommand
from domain.credentials.credential import Credential
from domain.credentials.fleet import Fleet
from domain.credentials.providers import Providers
from domain.credentials.service import CredentialService
from domain.credentials.stored import PastCredentials, TenantCredentials
from domain.endpoints.rules import EndpointRules
from domain.event import Clock
from domain.operations.replay import Projections
from domain.operations.rotation import EncryptionKeys
from domain.proofs.proofs import TransparencyLog


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one readiness check. `text` is shown to anybody: no secret, no address, no driver's words."""

    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """What a reload did, by names of settings: what is in force now, and what only a restart can change.

    warnings: not wrong, worth knowing, such as a name that is nearly that of a setting.
    """

    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]
    warnings: tuple[str, ...] = ()


Readiness = Callable[[], Awaitable[Mapping[str, CheckResult]]]
Reload = Callable[[], Awaitable[ReloadReport]]
CarryOut = Callable[[AdminCommand], Awaitable[Credential]]
Hook = Callable[[], Awaitable[None]]


async def _nothing() -> None:
    return None


def new_registry() -> CollectorRegistry:
    """Return an empty registry of metrics, for one application."""
    return CollectorRegistry(auto_describe=True)


@dataclass(frozen=True, slots=True)
class Services:
    """The parts behind the HTTP interface.

    carry_out: carries out a command; what comes at the same time shares a commit.
    providers: those that tenants may have credentials for.
    tenant_credentials: the feature switch; off, everything about tenants' own credentials answers 404.
    audit_recorder: hears of what happens besides changes. usage: who used a credential; usage_meter: what of it is not
    stored yet. reason_required: changes need an X-Audit-Reason. proxies: who is believed about a client's address.
    encryption_keys: None in a service without an encryption key, which is one with the feature off.
    readiness: runs the named checks of `/readyz`; bounded in time by whoever makes it.
    reload: reads the settings again; raises ConflictError, StoreUnavailableError.
    startup, shutdown: awaited once each, before the first request and after the last.
    registry: where the metrics of this application live; others may register collectors of their own in it.
    """

    credentials: CredentialService
    carry_out: CarryOut
    listing: TenantCredentials
    fleet: Fleet
    models: LanguageModels
    native: NativeApis
    audit: AuditTrail
    audit_recorder: AuditRecorder
    transparency: TransparencyLog
    usage: CredentialUsage
    usage_meter: UsageMeter
    encryption_keys: EncryptionKeys | None
    projections: Projections
    past: PastCredentials
    authenticator: Authenticator
    endpoint_rules: EndpointRules
    providers: Providers
    tenant_credentials: bool
    clock: Clock
    readiness: Readiness
    reload: Reload
    reason_required: bool = False
    proxies: TrustedProxies = NO_PROXIES
    startup: Hook = _nothing
    shutdown: Hook = _nothing
    registry: CollectorRegistry = field(default_factory=new_registry)


def services_of(request: Request) -> Services:
    """Return the services of the application that serves the request."""
    return services_in_force(request.scope)


def services_in_force(scope: Scope) -> Services:
    """Return the services that a request gets which begins now."""
    return cast(Services, scope["app"].state.services())


ServicesOf = Annotated[Services, Depends(services_of)]
