"""The HTTP interface on ports in memory, with one key for each role."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.app import create_app
from api.front.auth import ROLES, Authenticator, format_named_key, parse_named_key, reserved_names
from api.front.bodies import Limits
from api.front.callers import Callers
from api.front.check_result import CheckResult
from api.front.combined_writes import CombinedWrites
from api.front.proxies import NO_PROXIES, TrustedProxies
from api.front.revoked_calls import RevokedCalls
from api.front.services import ReloadReport, Services
from domain.access.service import AccessKeys, AccessRules
from domain.access.stream_commands import each_alone
from domain.access.tenants import Tenants
from domain.approvals.listed import ProposalRules
from domain.approvals.service import Proposals
from domain.approvals.still_allowed import StillAllowed
from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.fleet import Fleet
from domain.credentials.secret import Secret
from domain.credentials.service import CredentialService
from domain.endpoints.rules import EndpointRules
from domain.errors import ConflictError, ErrorCode
from keyledger.log.recorders.acceptance_recorder import AcceptanceRecorder
from keyledger.log.recorders.audit_recorder import AuditRecorder
from keyledger.usage.key_meter import KeyMeter
from keyledger.usage.usage_meter import UsageMeter
from tests.api.scripted import ScriptedApis, ScriptedKeyChecks, ScriptedMessages, ScriptedModels, ScriptedRoutes
from tests.support.asgi import client_on
from tests.support.twins.access_keys import MemoryAccessKeys
from tests.support.twins.audit_trail import MemoryAuditTrail
from tests.support.twins.current_credentials import MemoryCurrentCredentials, MemoryTenantCredentials
from tests.support.twins.encryption_keys import MemoryEncryptionKeys
from tests.support.twins.fleet import MemoryFleet
from tests.support.twins.key_usage import MemoryKeyUsage
from tests.support.twins.log import MemoryLog
from tests.support.twins.past_credentials import MemoryPastCredentials
from tests.support.twins.projections import MemoryProjections
from tests.support.twins.proposals import MemoryProposals
from tests.support.twins.sealer import VaultSealer
from tests.support.twins.tenants import MemoryTenants
from tests.support.twins.token_usage import MemoryTokenUsage
from tests.support.twins.transparency import MemoryTransparency
from tests.support.twins.usage import MemoryUsage

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
SUPER_KEY = "super-key-0123456789"
KEYS = {role: f"{role.value}-key-0123456789" for role in ROLES}
TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
OTHER_TENANT = "0e02b2c3-58cc-4372-a567-0e02b2c3d479"
CREDENTIALS = f"/api/v1/sysadmin/tenants/{TENANT}/credentials"
OPENAI = f"/api/v1/tenants/{TENANT}/openai/v1"
NATIVE = f"/api/v1/tenants/{TENANT}/providers"


class Ticking:
    """A clock that moves by one second whenever it is read."""

    def __init__(self) -> None:
        self._now = START - timedelta(seconds=1)

    def __call__(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now

    def pass_by(self, span: timedelta) -> None:
        """Move on without being asked for the time."""
        self._now += span


@dataclass
class Harness:
    """An application and the parts behind it."""

    tenant_credentials: bool = True
    reason_required: bool = False
    proxies: TrustedProxies = NO_PROXIES
    limits: Limits = field(default_factory=lambda: Limits(linger_seconds=0.05))
    checks: dict[str, CheckResult] = field(default_factory=lambda: {"store": CheckResult(True, "answers")})
    life: list[str] = field(default_factory=list)
    reload_errors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.log, self.sealer, self.models = MemoryLog(), VaultSealer(), ScriptedModels()
        self.usage, self.tokens = MemoryUsage(), MemoryTokenUsage()
        self.current = current = MemoryCurrentCredentials(self.log, self.usage)
        self.native, self.relayed = ScriptedApis(), ScriptedRoutes(self.models)
        self.messages = ScriptedMessages(self.models)
        self.key_checks = ScriptedKeyChecks()
        self.clock = clock = Ticking()
        self.keys = MemoryEncryptionKeys(Ticking(), self.log)
        self.recorder = AuditRecorder(self.log, clock)
        self.transparency = MemoryTransparency(self.log, clock)
        self.meter = UsageMeter(self.usage, AcceptanceRecorder(self.log, Ticking()), Ticking(), self.tokens)
        self.projections = MemoryProjections(Ticking())
        named = [parse_named_key(format_named_key(f"{role}-1", role, Secret(key))) for role, key in KEYS.items()]
        authenticator = Authenticator(Secret(SUPER_KEY), named)
        credentials = CredentialService(self.log, current, self.sealer, clock, pause=lambda seconds: None)
        listed, names = MemoryAccessKeys(self.log), reserved_names(authenticator)
        self.access = AccessKeys(self.log, listed, clock, AccessRules(reserved=names))
        self.key_meter = KeyMeter(MemoryKeyUsage(), clock)
        callers = Callers(listed.read, listed.reader(clock), used=self.key_meter.used)
        self.tenants, self.listed = MemoryTenants(self.log), MemoryProposals(self.log)
        alone: CombinedWrites[Callable[[], Any], Any] = CombinedWrites(lambda: each_alone)
        self.services = Services(
            callers=callers,
            access_keys=self.access,
            key_usage=self.key_meter,
            tenants=Tenants(self.log, self.tenants, clock, BUILT_IN),
            proposals=Proposals(self.log, self.listed, clock, ProposalRules(), StillAllowed(self.log, clock)),
            revoked_calls=RevokedCalls(callers, self.tenants.require, lambda: True),
            carry_out_alone=alone.write,
            credentials=credentials,
            carry_out=CombinedWrites(lambda: credentials.handle_all).write,
            listing=MemoryTenantCredentials(current),
            fleet=Fleet(MemoryFleet(self.log, current), credentials),
            models=self.models,
            native=self.native,
            relayed=self.relayed,
            messages=self.messages,
            audit=MemoryAuditTrail(self.log),
            audit_recorder=self.recorder,
            transparency=self.transparency,
            usage=self.usage,
            token_usage=self.tokens,
            usage_meter=self.meter,
            providers=BUILT_IN,
            reason_required=self.reason_required,
            proxies=self.proxies,
            encryption_keys=self.keys,
            projections=self.projections,
            past=MemoryPastCredentials(self.log, self.usage, self.sealer),
            authenticator=authenticator,
            key_checks=self.key_checks,
            endpoint_rules=EndpointRules(),
            tenant_credentials=self.tenant_credentials,
            clock=clock,
            readiness=self._readiness,
            reload=self._reload,
            startup=lambda: self._lived("started"),
            shutdown=lambda: self._lived("stopped"),
        )
        self.app = create_app(lambda: self.services, self.limits)
        self.client = client_on(self.app, {"X-API-Key": SUPER_KEY})

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.pass_by(timedelta(seconds=seconds))

    def put(self, provider: str = "openai", *, headers: Mapping[str, str] | None = None, **body: Any) -> Any:
        """Set a credential of TENANT, by default with some key."""
        return self.client.put(f"{CREDENTIALS}/{provider}", json={"api_key": "sk-0123456789", **body}, headers=headers)

    async def _reload(self) -> ReloadReport:
        if self.reload_errors:
            detail = f"The settings were not reloaded: {'; '.join(self.reload_errors)}"
            raise ConflictError(ErrorCode.RELOAD_REFUSED, detail)
        return ReloadReport(("OPENAI_API_KEY",), ("DATABASE_URL",))

    async def _readiness(self) -> Mapping[str, CheckResult]:
        return self.checks

    async def _lived(self, event: str) -> None:
        self.life.append(event)


@pytest.fixture
def harness() -> Iterator[Harness]:
    """The application with tenant credentials switched on."""
    yield Harness()


@pytest.fixture
def switched_off() -> Iterator[Harness]:
    """The application with tenant credentials switched off."""
    yield Harness(tenant_credentials=False)
