"""Builds the parts of a service that outlive a reload, one group at a time, and puts them in their order.

Promises: building connects to nothing but the database, and starts no task; `in_order` lists every part that does run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from api.front.revoked_calls import RevokedCalls
from keyledger.assembly.checks.same_ledger import peer_checkpoints
from keyledger.assembly.command_meta import service_meta
from keyledger.assembly.open_ledger import admin_address, role_rule
from keyledger.assembly.service.approvals import ProposalUpkeep
from keyledger.assembly.service.freed_memory import FreedMemory
from keyledger.assembly.service.in_force import InForce, Steering
from keyledger.assembly.service.lasting import Lasting
from keyledger.assembly.service.parts import Parts, StartedByRequests
from keyledger.assembly.service.tenant_calls import tenant_calls
from keyledger.encryption.heartbeat import Heartbeat
from keyledger.encryption.rotation_rows import RotationRows
from keyledger.encryption.rotation_service import KeyWork, RotationService
from keyledger.llm import CallConfiguration, Gateway, IdleConnections, KeyCheck, Messages, PassThrough, Relay
from keyledger.log.anchors.anchor import AnchorFile
from keyledger.log.anchors.places import anchor_places
from keyledger.log.anchors.watch import AnchorWatch
from keyledger.log.background_catch_up import BackgroundCatchUp
from keyledger.log.event_codes.code_watch import CodeWatch
from keyledger.log.recorders.acceptance_recorder import AcceptanceRecorder
from keyledger.log.recorders.audit_recorder import AuditRecorder
from keyledger.privacy.erasure import Eraser
from keyledger.privacy.erasure_file import ErasureFile
from keyledger.privacy.upkeep import PrivacyUpkeep
from keyledger.proofs.checkpoint_file import CheckpointFile
from keyledger.proofs.checkpoint_signing import Transparency
from keyledger.proofs.signing_guard import SigningGuard
from keyledger.proofs.signing_keys import LogSigner
from keyledger.proofs.signing_loop import SigningLoop
from keyledger.replay.replay_service import ReplayService
from keyledger.settings.settings import Settings
from keyledger.store_attestation.watch import StoreWatch
from keyledger.usage.token_metrics import TokenMetrics
from keyledger.usage.usage_meter import UsageMeter
from projections.audit import audit_trail
from projections.catch_up import CatchUp
from projections.proofs import transparency_log
from projections.usage.credential_usage import PostgresCredentialUsage
from projections.usage.token_usage import PostgresTokenUsage

if TYPE_CHECKING:  # loaded where the embedded server is used
    from keyledger.embedded_postgres import Supervision


@dataclass(frozen=True, slots=True)
class LogParts:
    """Record refused requests and reads of the audit in the log, and watch that it only grows by what nodes write.

    store: watches that the database is as this program ships it.
    """

    recorder: AuditRecorder
    watch: AnchorWatch
    codes: CodeWatch
    store: StoreWatch


@dataclass(frozen=True, slots=True)
class ProjectionParts:
    """Keep the projections that follow the log near its head, and replay any projection."""

    trail: BackgroundCatchUp
    tree_follower: CatchUp
    tree: BackgroundCatchUp
    replays: ReplayService


@dataclass(frozen=True, slots=True)
class ProofParts:
    """Sign checkpoints and make proofs from the tree."""

    transparency: Transparency
    signing: SigningLoop


@dataclass(frozen=True, slots=True)
class CallParts:
    """Call language models and count the calls. revoked: ends those whose access key was revoked or
    whose tenant was frozen.
    """

    usage: PostgresCredentialUsage
    tokens: PostgresTokenUsage
    meter: UsageMeter
    gateway: Gateway
    pass_through: PassThrough
    relay: Relay
    messages: Messages
    key_check: KeyCheck
    revoked: RevokedCalls


@dataclass(frozen=True, slots=True)
class EncryptionParts:
    """Make this node known to the others, and rotate keys. rotations: None while tenant credentials are off."""

    heartbeat: Heartbeat
    rotations: RotationService | None


def privacy_part(lasting: Lasting, settings: Settings, steering: Callable[[], InForce]) -> PrivacyUpkeep:
    """Build the part that keeps erasures in force."""
    pool, log, clock = lasting.pool, lasting.log, lasting.clock
    eraser = Eraser(pool, log, lasting.people.keys, ErasureFile(settings.data_dir, settings.anchor_dir), clock)
    return PrivacyUpkeep(eraser, lambda: steering().configuration.settings.personal_data_days, service_meta)


@dataclass(frozen=True, slots=True)
class ServiceParts:
    """All parts of a service that outlive a reload. embedded: None where another server is used."""

    lasting: Lasting
    log: LogParts
    projections: ProjectionParts
    proofs: ProofParts
    calls: CallParts
    encryption: EncryptionParts
    privacy: PrivacyUpkeep
    proposals: ProposalUpkeep
    embedded: "Supervision | None"

    def in_order(self) -> Parts:
        """Return what runs, in the order in which it starts; it stops in the reverse order.

        The embedded server is kept running as long as a part may write to it. A node is known to the others from before
        it serves until after its last write. Parts that append to the log come after its watch and the signing, so that
        the anchor and the last checkpoint include their last event. Parts that call models come after the meter, so
        that calls cut off at the end are counted.
        """
        rotations = self.encryption.rotations
        return Parts(
            {
                **({"embedded PostgreSQL": self.embedded} if self.embedded is not None else {}),
                "freed memory": FreedMemory(),
                "connections": self.lasting.pipelines,
                "heartbeat": self.encryption.heartbeat,
                "check of event codes": self.log.codes,
                "watch of the log": self.log.watch,
                "attestation of the store": self.log.store,
                "signing of checkpoints": self.proofs.signing,
                "audit trail": self.projections.trail,
                "transparency log": self.projections.tree,
                "privacy": self.privacy,
                "proposals": self.proposals,
                "audit recorder": self.log.recorder,
                "usage meter": self.calls.meter,
                "meter of access keys": self.lasting.key_meter,
                "budgets of access keys": self.lasting.budgets,
                "ending of revoked calls": self.calls.revoked,
                "pass-through": self.calls.pass_through,
                "gateway": self.calls.gateway,
                "key checks": self.calls.key_check,
                "replays": StartedByRequests(self.projections.replays.stop),
                **({"rotations": StartedByRequests(rotations.stop)} if rotations is not None else {}),
            }
        )


def log_parts(lasting: Lasting, settings: Settings) -> LogParts:
    """Build the parts of the log."""
    codes = CodeWatch(
        lasting.pool, lambda: lasting.log.codes, lambda: _vouched_for(lasting, settings), lasting.log.note_restore
    )
    # A node that signs begins to check codes after its last checkpoint, any other after its anchor.
    vouch = codes.require if settings.audit_signing_key is None else lambda position: None
    return LogParts(
        AuditRecorder(lasting.log, lasting.clock),
        AnchorWatch(
            lasting.pool,
            anchor_places(settings.data_dir, settings.anchor_dir),
            vouch,
            lambda contradiction: lasting.lease.contradict("anchor", contradiction),
        ),
        codes,
        StoreWatch(lasting.pool, lasting.log.unkept, role_rule(settings.database)),
    )


def _vouched_for(lasting: Lasting, settings: Settings) -> int:
    """Return the position up to which this node vouched for the log before it was stopped."""
    ledger_id = str(lasting.log.codes.ledger_id)
    if settings.audit_signing_key is None:
        anchor = AnchorFile(settings.data_dir).read()
        return anchor.position if anchor is not None and anchor.ledger_id == ledger_id else 0
    kept = CheckpointFile(settings.data_dir).read()
    return kept[1].size if kept is not None and kept[1].ledger_id == ledger_id else 0


def projection_parts(lasting: Lasting, settings: Settings) -> ProjectionParts:
    """Build the parts of the projections. Replays use the admin role, which may make tables."""
    tree_follower = transparency_log.follower(lasting.pool)
    return ProjectionParts(
        BackgroundCatchUp(lasting.follower, audit_trail.TABLE),
        tree_follower,
        BackgroundCatchUp(tree_follower, transparency_log.TABLE),
        ReplayService(lasting.pool, admin_address(settings.database, lasting.dsn), lasting.log, lasting.clock),
    )


def proof_parts(
    lasting: Lasting, log: LogParts, projections: ProjectionParts, settings: Settings, registry: CollectorRegistry
) -> ProofParts:
    """Build the parts that sign and prove. registry: where the age of the last checkpoint is measured."""
    presence = lasting.presence
    guard = SigningGuard(
        log.watch.require_same_log, peer_checkpoints(lasting.log, presence.published), presence.publish
    )
    transparency = Transparency(
        lasting.pool,
        lasting.dsn,
        projections.tree_follower,
        log.codes,
        signer_of(settings),
        settings.data_dir,
        lasting.clock,
        lasting.people.reader,
        guard,
    )
    return ProofParts(transparency, SigningLoop(transparency, projections.tree, lasting.clock, registry))


def signer_of(settings: Settings) -> LogSigner | None:
    """Return the signer that AUDIT_SIGNING_KEY makes, or None."""
    return LogSigner(settings.audit_signing_key) if settings.audit_signing_key else None


def call_parts(lasting: Lasting, steering: Callable[[], InForce], registry: CollectorRegistry) -> CallParts:
    """Build the parts that call models. steering: returns what is in force, for each new call.

    registry: where idle connections to providers, and tokens, are counted.
    """
    usage, tokens = PostgresCredentialUsage(lasting.pool), PostgresTokenUsage(lasting.pool)
    counted = TokenMetrics(registry).add
    meter = UsageMeter(usage, AcceptanceRecorder(lasting.log, lasting.clock), lasting.clock, tokens, counted)
    idle = IdleConnections(lambda: steering().configuration.settings.idle_connections, registry)

    def configuration() -> CallConfiguration:
        return steering().calls

    gateway, apis = Gateway(configuration, meter=meter, idle=idle), PassThrough(configuration, meter=meter, idle=idle)
    return CallParts(
        usage,
        tokens,
        meter,
        gateway,
        apis,
        Relay(configuration, apis),
        Messages(configuration, gateway, apis),
        KeyCheck(configuration, meter=meter),
        RevokedCalls(
            lasting.callers,
            tenant_calls(lasting, steering),
            lambda: steering().configuration.settings.revoked_calls_end,
        ),
    )


def encryption_parts(lasting: Lasting, steering: Steering) -> EncryptionParts:
    """Build the parts of the encryption keys."""
    heartbeat = Heartbeat(steering.beat, lasting.presence.leave, lasting.lease.begin)
    lasting.lease.hasten = heartbeat.hasten
    if steering().key_work is None:
        return EncryptionParts(heartbeat, None)
    records = RotationRows(lasting.pool)
    return EncryptionParts(heartbeat, RotationService(lambda: _key_work(steering), records, lasting.log))


def _key_work(steering: Callable[[], InForce]) -> KeyWork:
    work = steering().key_work
    assert work is not None  # noqa: S101  whether there are keys is decided at the start
    return work
