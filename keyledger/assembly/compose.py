"""The composition root: the one place that knows which part implements which contract.

Promises: nothing outside reads the environment; once `service_from_environment` has read it, provider keys, encryption
keys and passwords are gone from it, so nothing loaded later can pick them up.
"""

import asyncio
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from uuid import uuid4

from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from api.app import create_app
from api.front.services import ReloadReport, Services, new_registry
from domain.credentials.command_batch import AdminCommand, CommandResult
from domain.credentials.fleet import Fleet
from domain.errors import ServiceError
from domain.event import CommandMeta, CommandSource, utc_now
from keyledger.assembly.configuration import Configuration, configuration_of
from keyledger.assembly.database_check import prepare_database
from keyledger.assembly.for_commands import admin_address, database_of
from keyledger.assembly.in_force import InForce, Lasting, Steering, sealing_with_next
from keyledger.assembly.readiness import Readiness
from keyledger.assembly.reloading import Reloader
from keyledger.assembly.start_checks import require_keys, require_own_packages, require_same_log
from keyledger.encryption.heartbeat import Heartbeat
from keyledger.encryption.key_agreement import disagreements, require_agreement
from keyledger.encryption.key_introduction import introduce_keys
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.nodes import Node, Presence
from keyledger.encryption.rotation_rows import RotationRecords
from keyledger.encryption.rotation_service import KeyWork, Rotations
from keyledger.llm import Gateway, PassThrough, cleanse
from keyledger.log.acceptance_recorder import AcceptanceRecords
from keyledger.log.anchor import AnchorFile
from keyledger.log.anchor_watch import LogWatch
from keyledger.log.audit_recorder import AuditRecorder
from keyledger.log.background_catch_up import BackgroundCatchUp
from keyledger.log.combined_writes import CombinedWrites
from keyledger.log.event_store import CredentialLog
from keyledger.log.policy_recorder import record_policy
from keyledger.log.usage_meter import UsageMeter
from keyledger.proofs.checkpoint_signing import Transparency
from keyledger.proofs.signing_keys import LogSigner
from keyledger.proofs.signing_loop import Checkpointing
from keyledger.replay.replay_service import Replays
from keyledger.settings import logs
from keyledger.settings.settings import Settings, load
from keyledger.settings.sources import SUPER_KEY_ALSO, StartEnvironment
from keyledger.start_error import StartError
from projections import audit_trail, transparency_log
from projections.audit_trail import PostgresAuditTrail
from projections.credential_usage import PostgresCredentialUsage
from projections.database.connections import BoundedAsyncConnection, BoundedConnection, make_async_pool, open_pool
from projections.fleet import PostgresFleet

_OWN_SECRETS = (
    "ENCRYPTION_KEY",
    "ENCRYPTION_KEY_NEXT",
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
    _heartbeat: Heartbeat
    _rotations: Rotations | None
    _replays: Replays
    _recorder: AuditRecorder
    _meter: UsageMeter

    async def startup(self) -> None:
        """Open connections, follow the log, load the LLM library beside."""
        await self._pool.open(wait=False)
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
    reloader: Reloader
    _steering: Steering
    _lasting: Lasting
    _resources: ExitStack

    def prepare(self) -> None:
        """Migrate the database, check what must hold before a start, and record keys that are new to the log.

        From then on this is a node among the others, until it is closed. Raises StartError, StoreUnavailableError.
        """
        pool = self._lasting.pool
        require_own_packages()
        settings = self._steering().configuration.settings
        prepare_database(self._lasting.dsn, admin_address(settings, self._lasting.dsn))
        require_same_log(pool, AnchorFile(settings.data_dir))
        self._steering.seal_with_next()
        configuration = self._steering().configuration
        _require_keys(pool, configuration)
        if configuration.keyring is not None:
            require_agreement(self._lasting.presence, configuration.keyring)
            self._resources.callback(_leave, self._lasting.presence)
        _record(self._lasting.log, configuration)

    def close(self) -> None:
        """Close what was opened for it, the last first."""
        self._resources.close()


def build(
    settings: Settings,
    dsn: str,
    resources: ExitStack | None = None,
    read_again: Callable[[], Settings] | None = None,
    supervisor: Callable[[], None] | None = None,
) -> Service:
    """Put the parts together. Opens a connection pool; raises DocumentError for a faulty model file.

    resources: what is to be closed with the service. read_again: returns the settings as they are now, for a reload.
    supervisor: makes the other processes of this node read them again, too.
    """
    configuration = configuration_of(settings)
    pool, async_pool = open_pool(dsn), make_async_pool(dsn)
    log = CredentialLog(pool)
    follower = audit_trail.follower(pool)
    presence = Presence(pool)
    lasting = Lasting(dsn, pool, async_pool, log, follower, presence, utc_now)
    usage = PostgresCredentialUsage(pool)
    meter = UsageMeter(usage, AcceptanceRecords(log, utc_now), utc_now)
    gateway = Gateway(lambda: steering().means, meter=meter)
    steering = Steering(lasting, configuration, gateway.warming.look_again)
    pass_through = PassThrough(lambda: steering().means, meter=meter)
    trail = BackgroundCatchUp(follower, audit_trail.TABLE)
    tree_follower = transparency_log.follower(pool)
    tree = BackgroundCatchUp(tree_follower, transparency_log.TABLE)
    signer = LogSigner(settings.audit_signing_key) if settings.audit_signing_key else None
    transparency = Transparency(pool, dsn, tree_follower, signer, settings.data_dir, utc_now)
    registry = new_registry()
    checkpointing = Checkpointing(transparency, tree, utc_now, registry)
    watch = LogWatch(pool, AnchorFile(settings.data_dir))
    with_keys = configuration.keyring is not None
    rotations = Rotations(lambda: _key_work(steering), RotationRecords(pool), log) if with_keys else None
    heartbeat = Heartbeat(steering.beat, presence.leave)
    replays = Replays(pool, admin_address(settings, dsn), log, utc_now)
    recorder = AuditRecorder(log, utc_now)
    reloader = Reloader(steering.change, read_again or (lambda: settings), partial(_admitted, lasting), steering.beat)
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
    carry_out = CombinedWrites(partial(_handle_all, steering)).write
    readiness = Readiness(lambda: steering().configuration, pool, trail, checkpointing, watch, gateway.warming)

    def services_of(now: InForce) -> Services:
        settings = now.configuration.settings
        return Services(
            credentials=now.credentials,
            carry_out=carry_out,
            listing=now.view,
            fleet=Fleet(PostgresFleet(pool), now.credentials),
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
            past=now.past,
            authenticator=now.authenticator,
            endpoint_rules=settings.endpoint_rules,
            providers=settings.providers,
            tenant_credentials=settings.policy.tenant_credentials,
            clock=utc_now,
            readiness=readiness,
            reload=partial(_reload, reloader, supervisor),
            registry=registry,
            startup=lifespan.startup,
            shutdown=lifespan.shutdown,
        )

    closing = resources or ExitStack()
    closing.callback(pool.close)
    app = create_app(ServicesInForce(services_of, steering))
    return Service(app, gateway, lifespan, reloader, steering, lasting, closing)


class ServicesInForce:
    """Gives the services for a request that begins now; the same ones until something else is in force."""

    def __init__(self, services_of: Callable[[InForce], Services], steering: Callable[[], InForce]) -> None:
        self._services_of = services_of
        self._steering = steering
        self._made = (now := steering(), services_of(now))

    def __call__(self) -> Services:
        """Return them."""
        now, (made_for, services) = self._steering(), self._made
        if now is not made_for:
            services = self._services_of(now)
            self._made = (now, services)
        return services


def _handle_all(steering: Callable[[], InForce], commands: Sequence[AdminCommand]) -> list[CommandResult]:
    return steering().credentials.handle_all(commands)


def _leave(presence: Presence) -> None:
    with suppress(ServiceError):  # it will be forgotten soon
        presence.leave()


async def _reload(reloader: Reloader, supervisor: Callable[[], None] | None) -> ReloadReport:
    report = await asyncio.to_thread(reloader.reload)
    if supervisor is not None:
        supervisor()
    return report


def _key_work(steering: Callable[[], InForce]) -> KeyWork:
    work = steering().key_work
    assert work is not None  # noqa: S101  whether there are keys is decided at the start
    return work


def _admitted(lasting: Lasting, configuration: Configuration) -> Configuration:
    """Return a configuration as it may take the place of another, with what is new in it recorded and told.

    Raises StartError, StoreUnavailableError.
    """
    others = lasting.presence.others()
    admitted = sealing_with_next(configuration, others)
    _require_keys(lasting.pool, admitted)
    _require_agreed(others, admitted)
    _record(lasting.log, admitted)
    # Another node may have begun, or begun to seal, since: nothing that can fail comes after this.
    lasting.presence.settle(lambda others: _require_agreed(others, admitted))
    return admitted


def _require_agreed(others: Sequence[Node], configuration: Configuration) -> Keyring | None:
    ring = configuration.keyring
    if ring is not None and (found := disagreements(others, ring)):
        raise StartError(f"{'; '.join(found)}. Let every node know a key as ENCRYPTION_KEY_NEXT before one seals")
    return ring


def _require_keys(pool: ConnectionPool[BoundedConnection], configuration: Configuration) -> None:
    settings = configuration.settings
    if settings.policy.tenant_credentials:
        require_keys(pool, configuration.keyring, allow_unreadable=settings.allow_unreadable)


def _record(log: CredentialLog, configuration: Configuration) -> None:
    """Write policy and keys into the log where they are new to it."""
    meta = CommandMeta("service", str(uuid4()), str(uuid4()), role="service", source=CommandSource.SERVICE.value)
    record_policy(log, configuration.settings.policy, meta, utc_now)
    if configuration.keyring is not None:
        introduce_keys(log, configuration.keyring, meta, utc_now)


def service_from_environment(
    environ: MutableMapping[str, str], dotenv: Path | None, supervisor: Callable[[], None] | None = None
) -> Service:
    """Return the service that the environment and a `.env` file describe, prepared.

    supervisor: of a process that is one of several on this node: makes all of them read their settings again.
    Raises SettingsError, DocumentError, StartError and StoreUnavailableError.
    """
    at_start = StartEnvironment(environ)
    settings = load(at_start, dotenv)
    cleanse(environ)
    for name in _OWN_SECRETS:
        environ.pop(name, None)
    logs.configure(settings.log_level, settings.log_format)
    with ExitStack() as opened:
        dsn = database_of(settings, opened)
        service = build(settings, dsn, opened, lambda: load(at_start, dotenv), supervisor)
        service.prepare()
        return replace(service, _resources=opened.pop_all())
