"""The composition root: the one place that knows which part implements which contract.

Promises: nothing outside reads the environment; once `service_from_environment` has read it, provider keys, encryption
keys and passwords are gone from it, so nothing loaded later can pick them up.
"""

import asyncio
import os
from collections.abc import MutableMapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from api.app import create_app
from api.auth import Authenticator
from api.services import Services, new_registry
from domain.event import CommandMeta, CommandSource
from domain.fleet import Fleet
from domain.ports import Sealer
from domain.resolution import Resolver
from domain.service import CredentialService
from keyledger import logs
from keyledger.acceptance_records import AcceptanceRecords
from keyledger.ai_models import load_catalogue
from keyledger.audit_keys import LogSigner
from keyledger.audit_recorder import AuditRecorder
from keyledger.background import BackgroundCatchUp
from keyledger.checkpointing import Checkpointing
from keyledger.combined_writes import CombinedWrites
from keyledger.database_check import prepare_database
from keyledger.direct_access import admin_address, database_of
from keyledger.event_store import CredentialLog
from keyledger.heartbeat import Heartbeat
from keyledger.key_agreement import require_agreement
from keyledger.key_introduction import introduce_keys
from keyledger.key_status import KeyStatuses
from keyledger.keyring import Keyring, NoKeyring
from keyledger.llm import Gateway, PassThrough, cleanse
from keyledger.log_anchor import AnchorFile
from keyledger.log_watch import LogWatch
from keyledger.nodes import Presence
from keyledger.policy_record import record_policy
from keyledger.readiness import Readiness
from keyledger.replays import Replays
from keyledger.rotation import Rotator
from keyledger.rotation_records import RotationRecords
from keyledger.rotations import Rotations
from keyledger.sealing import Sealing
from keyledger.sealing_process import SealingProcess
from keyledger.settings import Settings, load
from keyledger.settings_sources import SUPER_KEY_ALSO
from keyledger.start_checks import require_keys, require_own_packages, require_same_log
from keyledger.transparency import Transparency
from keyledger.usage_meter import UsageMeter
from projections import audit_trail, transparency_log
from projections.as_of import PostgresPastCredentials
from projections.audit_trail import PostgresAuditTrail
from projections.catch_up import CatchUp
from projections.credential_usage import PostgresCredentialUsage
from projections.current_credentials import PostgresCurrentCredentials, PostgresResolutionView
from projections.fleet import PostgresFleet
from projections.postgres import BoundedAsyncConnection, BoundedConnection, make_async_pool, open_pool

_OWN_SECRETS = (
    "ENCRYPTION_KEY",
    "ENCRYPTION_KEY_PREVIOUS",
    "SUPER_API_KEY",
    *SUPER_KEY_ALSO,
    "DATABASE_URL",
    "DATABASE_ADMIN_URL",
    "AUDIT_SIGNING_KEY",
)


@dataclass(frozen=True, slots=True)
class Lifespan:
    """What lives on the event loop of a served application."""

    _pool: AsyncConnectionPool[BoundedAsyncConnection]
    _followers: Sequence[BackgroundCatchUp]
    _checkpointing: Checkpointing
    _gateway: Gateway
    _pass_through: PassThrough
    _watch: LogWatch
    _heartbeat: Heartbeat | None
    _rotations: Rotations | None
    _replays: Replays
    _recorder: AuditRecorder
    _meter: UsageMeter

    async def startup(self) -> None:
        """Open connections, follow the log, load the LLM library beside."""
        await self._pool.open(wait=False)
        if self._heartbeat is not None:
            await self._heartbeat.start()
        for follower in self._followers:
            follower.start()
        self._checkpointing.start()
        self._recorder.start()
        self._meter.start()
        self._watch.start()
        self._gateway.warming.start()

    async def shutdown(self) -> None:
        """Close what `startup` opened."""
        if self._rotations is not None:
            await asyncio.to_thread(self._rotations.stop)
        await asyncio.to_thread(self._replays.stop)
        if self._heartbeat is not None:
            await self._heartbeat.stop()
        await self._meter.stop()
        await self._recorder.stop()
        for follower in self._followers:
            await follower.stop()
        await self._checkpointing.stop()
        await self._watch.stop()
        await self._gateway.aclose()
        await self._pass_through.aclose()
        await self._pool.close()


@dataclass(frozen=True, slots=True)
class Service:
    """A built service: `prepare` it, serve `app`, `close` it. Who uses `models` without `app` runs `lifespan` too."""

    app: FastAPI
    models: Gateway
    lifespan: Lifespan
    _settings: Settings
    _dsn: str
    _pool: ConnectionPool[BoundedConnection]
    _keyring: Keyring | None
    _resources: ExitStack

    def prepare(self, *, agreed: bool = False) -> None:
        """Migrate the database, check what must hold before a start, and record keys that are new to the log.

        agreed: whoever starts this process has seen that the other nodes know its keys; else it waits for them.
        Raises StartRefused, StoreUnavailable.
        """
        require_own_packages()
        prepare_database(self._dsn, admin_address(self._settings, self._dsn))
        require_same_log(self._pool, AnchorFile(self._settings.data_dir))
        if self._settings.policy.tenant_credentials:
            require_keys(self._pool, self._keyring, allow_unreadable=self._settings.allow_unreadable)
        if self._keyring is not None and not agreed:
            require_agreement(self._pool, self._keyring)
        log = CredentialLog(self._pool)
        meta = CommandMeta("service", str(uuid4()), str(uuid4()), role="service", source=CommandSource.SERVICE.value)
        record_policy(log, self._settings.policy, meta, _now)
        if self._keyring is not None:
            introduce_keys(log, self._keyring, meta, _now)

    def close(self) -> None:
        """Close what was opened for it, the last first."""
        self._resources.close()


def build(settings: Settings, dsn: str, resources: ExitStack | None = None) -> Service:
    """Put the parts together. Opens a connection pool; raises DocumentFault for a faulty model file.

    resources: what is to be closed with the service.
    """
    catalogue = load_catalogue(settings.ai_models_file, settings.providers)
    primary = settings.encryption_key
    keyring = Keyring(primary, settings.previous_encryption_keys) if primary else None
    sealer: Sealer = keyring or NoKeyring()
    async_pool = make_async_pool(dsn)
    view = PostgresResolutionView(async_pool, settings.providers)
    resolver = Resolver(view, sealer, settings.policy)
    pool = open_pool(dsn)
    log = CredentialLog(pool)
    usage = PostgresCredentialUsage(pool)
    meter = UsageMeter(usage, AcceptanceRecords(log, _now), _now)
    gateway = Gateway(catalogue, resolver, settings.endpoint_rules, meter=meter)
    pass_through = PassThrough(resolver, settings.endpoint_rules, meter=meter)
    follower = CatchUp(pool, audit_trail.TABLE, audit_trail.write)
    trail = BackgroundCatchUp(follower, audit_trail.TABLE)
    tree_follower = CatchUp(pool, transparency_log.TABLE, transparency_log.write)
    tree = BackgroundCatchUp(tree_follower, transparency_log.TABLE)
    signer = LogSigner(settings.audit_signing_key) if settings.audit_signing_key else None
    transparency = Transparency(pool, dsn, tree_follower, signer, settings.data_dir, _now)
    registry = new_registry()
    checkpointing = Checkpointing(transparency, tree, _now, registry)
    watch = LogWatch(pool, AnchorFile(settings.data_dir))
    rotations = None
    if primary is not None and keyring is not None:
        sealing = SealingProcess(dsn, primary, settings.previous_encryption_keys)
        rotations = _rotations(pool, log, keyring, follower, sealing)
    heartbeat = Heartbeat(Presence(pool, keyring)) if keyring else None
    replays = Replays(pool, admin_address(settings, dsn), log, _now)
    recorder = AuditRecorder(log, _now)
    lifespan = Lifespan(
        async_pool,
        (trail, tree),
        checkpointing,
        gateway,
        pass_through,
        watch,
        heartbeat,
        rotations,
        replays,
        recorder,
        meter,
    )
    credentials = CredentialService(log, PostgresCurrentCredentials(pool, settings.providers), sealer, _now)
    services = Services(
        credentials=credentials,
        carry_out=CombinedWrites(credentials.handle_all).write,
        listing=view,
        fleet=Fleet(PostgresFleet(pool), credentials),
        models=gateway,
        native=pass_through,
        audit=PostgresAuditTrail(pool, follower),
        audit_recorder=recorder,
        transparency=transparency,
        usage=usage,
        usage_meter=meter,
        reason_required=settings.reason_required,
        proxies=settings.trusted_proxies,
        encryption_keys=rotations,
        projections=replays,
        past=PostgresPastCredentials(pool, sealer, settings.providers),
        authenticator=Authenticator(settings.super_key, settings.named_keys),
        endpoint_rules=settings.endpoint_rules,
        providers=settings.providers,
        tenant_credentials=settings.policy.tenant_credentials,
        clock=_now,
        readiness=Readiness(settings, pool, keyring, trail, checkpointing, watch, catalogue, gateway.warming),
        registry=registry,
        startup=lifespan.startup,
        shutdown=lifespan.shutdown,
    )
    closing = resources or ExitStack()
    closing.callback(pool.close)
    return Service(create_app(services), gateway, lifespan, settings, dsn, pool, keyring, closing)


def _rotations(
    pool: ConnectionPool[BoundedConnection],
    log: CredentialLog,
    keyring: Keyring,
    follower: CatchUp,
    sealing: Sealing,
) -> Rotations:
    statuses = KeyStatuses(pool, log, keyring, follower)
    return Rotations(statuses, Rotator(pool, log, keyring, _now, sealing), RotationRecords(pool), log)


def service_from_environment(
    environ: MutableMapping[str, str], dotenv: Path | None, *, agreed: bool = False
) -> Service:
    """Return the service that the environment and a `.env` file describe, prepared. agreed: as in `Service.prepare`.

    Raises SettingsFault, DocumentFault, StartRefused and StoreUnavailable.
    """
    settings = load(environ, dotenv)
    cleanse(environ)
    for name in _OWN_SECRETS:
        environ.pop(name, None)
    logs.configure(settings.log_level, settings.log_format)
    with ExitStack() as opened:
        service = build(settings, database_of(settings, opened), opened)
        service.prepare(agreed=agreed)
        return replace(service, _resources=opened.pop_all())


def app_from_environment() -> FastAPI:
    """Return the application that `os.environ` and `.env` describe, ready to serve. Raises as above."""
    return service_from_environment(os.environ, Path(".env")).app


def _now() -> datetime:
    return datetime.now(UTC)
