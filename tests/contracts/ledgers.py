"""The ports of one ledger on each of their implementations, and an author who writes the same history into both."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Protocol

from domain.approvals.listed import ProposalList
from domain.approvals.proposal import Proposal, ProposalEvent, ProposalMade, propose
from domain.approvals.proposal import evolve as evolve_proposal
from domain.audit.entries import AuditTrail
from domain.audit.request_events import Outcome, RefusedRequest, audit_read, request_refused
from domain.audit.usage import CredentialUsage, UsageRecord
from domain.credentials.acceptance import accept_or_reject, acceptance_stream
from domain.credentials.commands import Command, DeleteCredential, ReencryptCredential, SetCredential
from domain.credentials.credential import CredentialDeleted, decide, evolve, stream_id
from domain.credentials.fleet import FleetProjection
from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import Secret
from domain.credentials.stored import CurrentCredentials, PastCredentials, Stored
from domain.events.event import CommandMeta, Event, envelope
from domain.events.event_log import StreamLog
from domain.proofs.proofs import TransparencyLog
from keyledger.encryption.personal_keys import Kind
from keyledger.privacy.erasure import Eraser
from keyledger.privacy.erasure_file import ErasureFile
from keyledger.proofs.checkpoint_signing import Transparency
from keyledger.proofs.signing_keys import LogSigner, generate_signing_key
from projections.audit.search import PostgresAuditTrail
from projections.credentials.as_of import PostgresPastCredentials
from projections.credentials.current_credentials import PostgresResolutionProjection
from projections.credentials.fleet import PostgresFleet
from projections.database.pipelines import Pipelines
from projections.proposals import PostgresProposals
from projections.usage.credential_usage import PostgresCredentialUsage
from tests.support.scenario import ClearSealer
from tests.support.store import open_store, unchecked
from tests.support.twins.audit_trail import MemoryAuditTrail
from tests.support.twins.current_credentials import MemoryCurrentCredentials, MemoryTenantCredentials
from tests.support.twins.fleet import MemoryFleet
from tests.support.twins.log import MemoryLog
from tests.support.twins.past_credentials import MemoryPastCredentials
from tests.support.twins.proposals import MemoryProposals
from tests.support.twins.transparency import MemoryTransparency
from tests.support.twins.usage import MemoryUsage

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD_KEY, NEW_KEY = "k0000000001", "k0000000002"
SEALER = ClearSealer(NEW_KEY, [OLD_KEY, NEW_KEY])
Decision = Callable[[Proposal, CommandMeta, datetime], ProposalEvent]
SIGNER = LogSigner(generate_signing_key("contract"))


class Usage(CredentialUsage, Protocol):
    """The records of usage, as those who count see them."""

    def add(self, records: Sequence[UsageRecord]) -> str | None: ...


@dataclass
class Ledger:
    """The ports of one ledger. listed: what a tenant's list is made from, asked for on an event loop.

    erase: makes the name of an actor unreadable.
    """

    log: StreamLog
    credentials: CurrentCredentials
    listed: Callable[[str], Sequence[Stored]]
    trail: AuditTrail
    usage: Usage
    fleet: FleetProjection
    past: PastCredentials
    proofs: TransparencyLog
    proposals: ProposalList
    erase: Callable[[str], None]
    fall_silent: Callable[[], None]
    author: "Author" = field(init=False)

    def __post_init__(self) -> None:
        self.author = Author(self.log)


class Author:
    """Appends events as the service decides them, one a minute from `BEGIN` on."""

    def __init__(self, log: StreamLog) -> None:
        self._log = log
        self._numbers = count()
        self.now = BEGIN

    def set(
        self, tenant_id: str, provider: str, key: str, config: CredentialConfig = CredentialConfig(), **meta: str
    ) -> Event:
        command = SetCredential(tenant_id, provider, Secret(key), config, self._meta(**meta))
        return self._carry_out(command, ClearSealer(OLD_KEY))

    def reencrypt(self, tenant_id: str, provider: str) -> Event:
        return self._carry_out(ReencryptCredential(tenant_id, provider, self._meta(actor="operator")), SEALER)

    def delete(self, tenant_id: str, provider: str) -> Event:
        return self._carry_out(DeleteCredential(tenant_id, provider, self._meta()), SEALER)

    def answer(self, tenant_id: str, provider: str, version: int, *, rejected: bool) -> Event:
        """Record what a provider said of a credential at a version."""
        last = self._log.last(acceptance_stream(tenant_id, provider))
        meta = self._meta(actor="runtime")
        event = accept_or_reject(last, tenant_id, provider, version, rejected=rejected, meta=meta, now=self.now)
        assert event is not None
        return self._append(event)

    def propose(self, tenant_id: str, provider: str, **meta: str) -> ProposalMade:
        """Propose to delete a credential."""
        by = self._meta(**meta)
        decided = CredentialDeleted(
            **envelope(stream_id(tenant_id, provider), 2, by, self.now), tenant_id=tenant_id, provider=provider
        )
        made = propose(decided, "delete", by, self.now, self.now + timedelta(hours=1))
        self._append(made)
        return made

    def decide_proposal(self, made: ProposalMade, decide: Decision) -> Event:
        """Append what was decided about a proposal, by bruno."""
        return self._append(decide(evolve_proposal(made), self._meta(actor="bruno"), self.now))

    def refuse(self, code: str, **about: str) -> Event:
        refused = RefusedRequest(
            outcome=Outcome.DENIED, method="PUT", route="/x/{tenant_id}", status=403, code=code, **about
        )
        return self._append(request_refused(self._meta(actor="bruno", role="auditor"), self.now, refused, count=3))

    def read_audit(self, query: str) -> Event:
        return self._append(audit_read(self._meta(actor="bruno", role="auditor"), self.now, "entries", query))

    def _carry_out(self, command: Command, sealer: ClearSealer) -> Event:
        last = self._log.last(stream_id(command.tenant_id, command.provider))
        (event,) = decide(evolve(last) if last else None, command, self.now, sealer)
        return self._append(event)

    def _append(self, event: Event) -> Event:
        self._log.append([event])
        self.now += timedelta(minutes=1)
        return event

    def _meta(self, actor: str = "anna", **more: str) -> CommandMeta:
        number = next(self._numbers)
        return CommandMeta(actor, f"req-{number}", f"cmd-{number}", **{"role": "sysadmin", "source": "api", **more})  # type: ignore[arg-type]


def in_memory() -> Ledger:
    """The twins on one log."""
    log, usage = MemoryLog(), MemoryUsage()
    credentials = MemoryCurrentCredentials(log, usage)
    tenants = MemoryTenantCredentials(credentials)
    proposals = MemoryProposals(log)

    def fall_silent() -> None:
        log.down = usage.down = True

    return Ledger(
        log,
        credentials,
        lambda tenant_id: asyncio.run(tenants.of_tenant(tenant_id)),
        MemoryAuditTrail(log),
        usage,
        MemoryFleet(log, credentials),
        MemoryPastCredentials(log, usage, SEALER),
        MemoryTransparency(log, lambda: BEGIN),
        proposals,
        proposals.erased.add,
        fall_silent,
    )


@contextmanager
def on_postgresql(url: str, folder: Path) -> Iterator[Ledger]:
    """The real implementations on one database."""
    with open_store(url) as store:

        async def listed(tenant_id: str) -> Sequence[Stored]:
            async with Pipelines(url) as pipelines:
                return await PostgresResolutionProjection(pipelines).of_tenant(tenant_id)

        def erase(actor: str) -> None:
            eraser = Eraser(store.pool, store.log, store.people.keys, ErasureFile(folder), lambda: BEGIN)
            found = eraser.find(Kind.ACTOR, actor)
            assert found is not None
            eraser.erase(found, None, CommandMeta("cli", "req-e", "cmd-e", role="operator", source="cli"))

        yield Ledger(
            store.log,
            store.view,
            lambda tenant_id: asyncio.run(listed(tenant_id)),
            PostgresAuditTrail(store.pool, store.follower, store.people.reader),
            PostgresCredentialUsage(store.pool),
            PostgresFleet(store.pool),
            PostgresPastCredentials(store.pool, SEALER),
            Transparency(
                store.pool,
                url,
                store.tree_follower,
                unchecked(store.pool),
                SIGNER,
                folder,
                lambda: BEGIN,
                store.people.reader,
            ),
            PostgresProposals(store.pool, store.follower, lambda: store.log.codes, store.people.reader),
            erase,
            store.pool.close,
        )
