"""The real log and views on a real database, built as the composition root builds them, for tests to drive."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import TypeVar

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from api.front.combined_writes import CombinedWrites
from domain.audit.entries import AuditEntry, AuditFilter, FoundEntries
from domain.credentials.command_batch import AdminCommand
from domain.credentials.commands import DeleteCredential, SetCredential
from domain.credentials.credential import Credential
from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import Secret
from domain.credentials.service import CredentialService
from domain.events.event import CommandMeta
from domain.events.event_code import NO_CODES
from keyledger.assembly.people import People, people_of
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.secret_keeping import SecretKeys
from keyledger.log.event_codes.attestation import read_codes
from keyledger.log.event_codes.code_watch import CodeWatch
from keyledger.log.event_store import CredentialLog
from projections.audit import audit_trail
from projections.audit.search import PostgresAuditTrail
from projections.catch_up import CatchUp
from projections.credentials.current_credentials import PostgresCurrentCredentials
from projections.database import row_locks
from projections.database.connections import BoundedConnection, Connection, connect
from projections.database.pools import open_pool
from projections.proofs import transparency_log
from projections.replay.shadow_table import shadow_of

W = TypeVar("W")
R = TypeVar("R")

LEDGER_ID = "5ec1e1ed-9e7a-4b0c-8d2f-0a1b2c3d4e5f"
"""Of every ledger that a test gets as a copy of the template."""
ENCRYPTION_KEY = Secret("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
OTHER_ENCRYPTION_KEY = Secret("ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=")
SECRET_KEYS = SecretKeys.of([ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY], None)
"""Open the secret of any ledger whose services have one of these keys."""


@dataclass
class Store:
    url: str
    pool: ConnectionPool[BoundedConnection]
    keyring: Keyring
    log: CredentialLog
    view: PostgresCurrentCredentials
    follower: CatchUp
    tree_follower: CatchUp
    service: CredentialService
    writes: CombinedWrites[AdminCommand, Credential]
    people: People

    def set(
        self,
        tenant_id: str,
        provider: str,
        key: str,
        config: CredentialConfig = CredentialConfig(),
        command_id: str = "",
    ) -> Credential:
        return self.handle(SetCredential(tenant_id, provider, Secret(key), config, _meta(command_id)))

    def delete(self, tenant_id: str, provider: str) -> Credential:
        return self.handle(DeleteCredential(tenant_id, provider, _meta("")))

    def handle(self, command: AdminCommand) -> Credential:
        return write_here(self.writes, command)

    def audit(self, **wanted: object) -> list[AuditEntry]:
        return list(self.audit_page(**wanted).entries)

    def audit_page(self, **wanted: object) -> FoundEntries:
        trail = PostgresAuditTrail(self.pool, self.follower, self.people.reader)
        return trail.page(AuditFilter(**wanted))  # type: ignore[arg-type]

    def as_another_node(self) -> "Store":
        """Return the same store as another node has it, whose commands do not wait for those of this one."""
        return replace(self, writes=CombinedWrites(lambda: self.service.handle_all))

    def follow(self) -> None:
        """Bring every view that follows to the head of the log."""
        self.follower.run()
        self.tree_follower.run()

    @contextmanager
    def superuser(self) -> Iterator[Connection]:
        """A connection of a database administrator, who reaches past the service."""
        with psycopg.Connection[dict[str, object]].connect(
            self.url, autocommit=True, row_factory=dict_row
        ) as connection:
            yield connection


def write_here(writes: CombinedWrites[W, R], one: W) -> R:
    """Make a write from a thread that may block, on an event loop of its own. Raises what the write raises."""
    return asyncio.run(writes.write(one))


def unchecked(pool: ConnectionPool[BoundedConnection]) -> CodeWatch:
    """Return the watch of codes that a service without any key has."""
    return CodeWatch(pool, lambda: NO_CODES, lambda: 0)


@contextmanager
def open_store(url: str, keyring: Keyring | None = None) -> Iterator[Store]:
    pool = open_pool(url)
    people = people_of(pool, SECRET_KEYS)
    ring = (keyring or Keyring(ENCRYPTION_KEY)).with_fingerprints(people.fingerprint)
    try:
        log = CredentialLog(pool, people.sealer, read_codes(pool, ring.code_keys))
        view = PostgresCurrentCredentials(pool)
        follower = audit_trail.follower(pool)
        tree = transparency_log.follower(pool)
        service = CredentialService(log, view, ring, lambda: datetime.now(UTC))
        writes = CombinedWrites(lambda: service.handle_all)
        yield Store(url, pool, ring, log, view, follower, tree, service, writes, people)
    finally:
        pool.close()


@contextmanager
def replay_elsewhere(url: str, projection: str) -> Iterator[None]:
    """As if another process replayed the projection until the block ends."""
    with connect(url) as connection:
        row_locks.add(connection, shadow_of(projection))
        with connection.transaction():
            assert row_locks.try_to_hold(connection, shadow_of(projection))
            yield


_commands = count(1)


def _meta(command_id: str) -> CommandMeta:
    number = next(_commands)
    return CommandMeta("anna", f"req-{number}", command_id or f"cmd-{number}", may_repeat=bool(command_id))
