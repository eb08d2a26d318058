"""The services of the HTTP interface: each request gets those of the configuration in force when it begins."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import CollectorRegistry

from api.front.combined_writes import CombinedWrites
from api.front.services import ReloadReport, Services
from domain.access.stream_commands import each_alone
from domain.credentials.fleet import Fleet
from keyledger.assembly.checks.readiness import Readiness
from keyledger.assembly.service.in_force import InForce, Steering
from keyledger.assembly.service.parts import Part
from keyledger.assembly.service.reloading import Reloader
from keyledger.assembly.service.service_parts import ServiceParts
from projections.audit.search import PostgresAuditTrail
from projections.credentials.fleet import PostgresFleet


class RequestServices:
    """Returns the services for a request that begins now; the same object until another configuration is in force.

    lifespan: starts and stops what the services need. reload: reads the settings again. registry: of the metrics.
    """

    def __init__(
        self,
        parts: ServiceParts,
        steering: Steering,
        lifespan: Part,
        reload: Callable[[], Awaitable[ReloadReport]],
        registry: CollectorRegistry,
    ) -> None:
        self._parts = parts
        self._steering = steering
        self._reload = reload
        self._registry = registry
        self._carry_out = CombinedWrites(lambda: steering().credentials.handle_all, parts.lasting.lease.obeyed).write
        alone: CombinedWrites[Callable[[], Any], Any] = CombinedWrites(lambda: each_alone, parts.lasting.lease.obeyed)
        self._carry_out_alone = alone.write
        self._readiness = Readiness(
            lambda: steering().configuration,
            parts.lasting.pool,
            parts.projections.trail,
            parts.proofs.signing,
            parts.log.watch,
            parts.log.codes,
            parts.log.store,
            parts.calls.gateway.warming,
            parts.lasting.lease,
            parts.lasting.log.check,
            lambda: parts.embedded.cause if parts.embedded is not None else "",
        )
        self._hooks = {"startup": lifespan.start, "shutdown": lifespan.stop}
        self._made = (now := steering(), self._services_of(now))

    def __call__(self) -> Services:
        """Return the services."""
        now, (made_for, services) = self._steering(), self._made
        if now is not made_for:
            services = self._services_of(now)
            self._made = (now, services)
        return services

    def _services_of(self, now: InForce) -> Services:
        parts, settings = self._parts, now.configuration.settings
        return Services(
            credentials=now.credentials,
            carry_out=self._carry_out,
            listing=now.projection,
            fleet=Fleet(PostgresFleet(parts.lasting.pool), now.credentials),
            models=parts.calls.gateway,
            native=parts.calls.pass_through,
            relayed=parts.calls.relay,
            messages=parts.calls.messages,
            audit=PostgresAuditTrail(parts.lasting.pool, parts.lasting.follower, parts.lasting.people.reader),
            audit_recorder=parts.log.recorder,
            transparency=parts.proofs.transparency,
            usage=parts.calls.usage,
            token_usage=parts.calls.tokens,
            prices=now.configuration.prices,
            usage_meter=parts.calls.meter,
            reason_required=settings.reason_required,
            proxies=settings.trusted_proxies,
            lockout=settings.lockout,
            bounds=settings.bounds,
            encryption_keys=parts.encryption.rotations,
            projections=parts.projections.replays,
            past=now.past,
            authenticator=now.authenticator,
            callers=parts.lasting.callers,
            identities=now.identities,
            people=now.people,
            access_keys=now.access,
            key_usage=parts.lasting.key_meter,
            tenants=now.tenants,
            proposals=now.proposals,
            revoked_calls=parts.calls.revoked,
            carry_out_alone=self._carry_out_alone,
            key_checks=parts.calls.key_check,
            endpoint_rules=settings.endpoint_rules,
            providers=settings.providers,
            tenant_credentials=settings.policy.tenant_credentials,
            clock=parts.lasting.clock,
            readiness=self._readiness,
            reload=self._reload,
            registry=self._registry,
            **self._hooks,
        )


async def reload_node(reloader: Reloader, supervisor: Callable[[], None] | None) -> ReloadReport:
    """Read the settings again in this process, then have the other processes of this node do the same.

    supervisor: tells those other processes; None where there are none.
    """
    report = await asyncio.to_thread(reloader.reload)
    if supervisor is not None:
        supervisor()
    return report
