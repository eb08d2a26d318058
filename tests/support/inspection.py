"""Everything that the product notices about a store, asked in one transaction that can be rolled back.

`tests.support.examination` asks a service and the commands. Here the functions below them are asked on one connection,
so that ten thousand forgeries take minutes: the key that a call gets, the reasons to refuse a start, the checks of a
running service, the comparisons of `keyledger verify`, and the entries that an auditor reads. No service runs, and no
file in DATA_DIR is changed.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

from psycopg_pool import ConnectionPool

from domain.audit.entries import AuditEntry, AuditFilter
from domain.audit.leaf import leaf_of
from domain.credentials.resolution import GlobalCredential, ResolutionPolicy, Resolver
from domain.credentials.secret import Secret
from domain.credentials.stored import CallRows
from domain.errors import CredentialIntegrityError, ServiceError
from domain.events.event_code import CodeKey
from keyledger.assembly.checks.same_ledger import require_peers_agree, require_same_log
from keyledger.assembly.checks.start_checks import require_keys
from keyledger.assembly.configuration import code_keys_of
from keyledger.assembly.people import People, people_of
from keyledger.encryption.key_agreement import disagreements
from keyledger.encryption.nodes import Presence
from keyledger.encryption.secret_keeping import SecretKeys
from keyledger.log.anchors.places import anchor_places
from keyledger.log.anchors.watch import AnchorWatch
from keyledger.log.event_codes.attestation import read_codes
from keyledger.log.event_codes.code_watch import CodeWatch
from keyledger.log.event_store import CredentialLog
from keyledger.proofs.signing_keys import LogSigner
from keyledger.start_error import StartError
from keyledger.store_attestation import RoleRule
from keyledger.store_attestation.watch import StoreWatch
from keyledger.store_verification import catch_up, verify_snapshot
from projections.audit import audit_trail
from projections.audit.search import PostgresAuditTrail
from projections.catch_up import read_all
from projections.credentials.current_credentials import PostgresCurrentCredentials
from projections.database.connections import BoundedConnection, Connection
from projections.tenants import read_tenants
from tests.support.deployment import GLOBAL_KEYS, PROVIDERS, SIGNING_KEY, Deployment, Place
from tests.support.examination import Outcome
from tests.support.forger import ALICE
from tests.support.tenants import tenant_reader


@dataclass(frozen=True)
class Shown:
    """The content of an honest store. calls: the key of each place. entries, leaves: of trail and log, by position."""

    calls: Mapping[Place, str]
    entries: Mapping[int, AuditEntry]
    leaves: Mapping[int, bytes]


class Borrowed:
    """One connection that is in a transaction, in the place of a pool: each use is a savepoint."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        with self._connection.transaction():
            yield self._connection


class _Projection:
    """Reads what calls read, through the same connection."""

    def __init__(self, pool: ConnectionPool[BoundedConnection]) -> None:
        self._rows = PostgresCurrentCredentials(pool)
        self._pool = pool

    async def read(self, tenant_id: str, provider: str, digest: str | None = None) -> CallRows:
        return CallRows(self._rows.read_all([(tenant_id, provider)])[0], read_tenants(self._pool, [tenant_id])[0])


class Inspector:
    """Inspects the store of a deployment through one connection."""

    def __init__(self, connection: Connection, deployment: Deployment) -> None:
        self._connection = connection
        self.pool = cast(ConnectionPool[BoundedConnection], Borrowed(connection))
        self._deployment = deployment
        self._data_dir = deployment.nodes[0]
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        self._loop.close()

    @property
    def _code_keys(self) -> Sequence[CodeKey]:
        return code_keys_of(self._deployment.keys, SIGNING_KEY)

    def _people(self) -> People:
        return people_of(self.pool, SecretKeys.of(self._deployment.keys, SIGNING_KEY))

    def catch_up(self) -> None:
        """Bring every projection to the head of the log."""
        catch_up(self.pool)

    def shown(self, calls: Mapping[Place, str]) -> Shown:
        """Return what the store shows now. calls: the keys that it must use."""
        return Shown(calls, self._entries(), self._leaves())

    def inspect(
        self,
        shown: Shown,
        chance: random.Random,
        enough: Callable[[Outcome], bool] = lambda found: False,
        role: RoleRule = RoleRule.IGNORED,
    ) -> Outcome:
        """Call from every place, then look in every way until that is enough, in a random order.

        What auditors read is compared with `shown` only where nothing was found.
        """
        found = Outcome()
        self._calls(found, shown)
        ways = [self._start, self._readiness, self._verify]
        for way in chance.sample(ways, len(ways)):
            if enough(found):
                return found
            with self._connection.transaction(force_rollback=True):
                way(found, role)
        found.blocked += self._blocking()
        self._read(found, shown)
        return found

    def _calls(self, found: Outcome, shown: Shown) -> None:
        try:
            codes = read_codes(self.pool, self._code_keys)
        except ServiceError as error:
            found.find("start", _text_of(error))
            return
        globals_ = {name: GlobalCredential(Secret(key)) for name, key in GLOBAL_KEYS.items()}
        policy = ResolutionPolicy(True, True, globals_)
        resolver = Resolver(
            _Projection(self.pool), self._deployment.keyring, policy, tenant_reader(lambda: codes), lambda: codes
        )
        for place in (*shown.calls, (str(uuid4()), PROVIDERS[0])):
            wanted = shown.calls.get(place)
            try:
                used = self._loop.run_until_complete(resolver.resolve(*place, tenant_capable=True)).secret.reveal()
            except ServiceError as error:
                found.find("call", _text_of(error), place=place)
            else:
                if wanted is not None and used != wanted:
                    found.used[place] = used

    def _start(self, found: Outcome, role: RoleRule) -> None:
        """Look as a node does before it serves."""
        try:
            require_same_log(self.pool, anchor_places(self._data_dir, None))
            codes = read_codes(self.pool, self._code_keys)
            log = CredentialLog(self.pool, self._people().sealer, codes)
            require_peers_agree(self.pool, log, LogSigner(SIGNING_KEY))
            require_keys(self.pool, self._deployment.keyring, codes, allow_unreadable=False)
            if differing := disagreements(
                Presence(self.pool).others(self._deployment.keyring), self._deployment.keyring
            ):
                raise StartError("; ".join(differing))
        except (StartError, ServiceError) as refused:
            found.find("start", _text_of(refused))

    def _readiness(self, found: Outcome, role: RoleRule) -> None:
        """Look as a running node does again and again. Its watch of codes begins at the first event."""
        store = StoreWatch(self.pool, lambda: "", role)
        store.attest()
        watches = {
            "log": AnchorWatch(self.pool, anchor_places(self._data_dir, None)).check,
            "codes": CodeWatch(self.pool, lambda: read_codes(self.pool, self._code_keys), lambda: 0).check,
            "store": store.check,
        }
        for name, check in watches.items():
            try:
                result = check()
            except ServiceError as error:
                found.find("readyz", f"{name}: {_text_of(error)}")
            else:
                if not result.ok:
                    found.find("readyz", f"{name}: {result.text}")

    def _verify(self, found: Outcome, role: RoleRule) -> None:
        """Look as `keyledger verify` does."""
        try:
            catch_up(self.pool)
            error = verify_snapshot(
                self._connection, self._deployment.keyring, self._data_dir, keys=self._code_keys
            ).error
        except ServiceError as refused:
            found.find("verify", _text_of(refused))
            return
        if error is not None:
            place = (error.tenant_id, error.provider or "") if error.tenant_id else None
            found.find("verify", f"{error.part}: {error.meaning}", error.position, place)

    def _blocking(self) -> list[str]:
        """Return which nodes hold up a rotation."""
        return disagreements(Presence(self.pool).others(self._deployment.keyring), self._deployment.keyring)

    def _read(self, found: Outcome, shown: Shown) -> None:
        """Read as an auditor does: entries of the trail, and leaves of the tree."""
        try:
            entries, leaves = self._entries(), self._leaves()
        except ServiceError as error:
            found.find("entries", _text_of(error))
            return
        found.believed += [f"entry {at}" for at, entry in shown.entries.items() if entries.get(at) != entry]
        found.believed += [f"entry {at} by {ALICE}" for at, entry in entries.items() if entry.actor == ALICE]
        found.believed += [f"record {at}" for at, leaf in shown.leaves.items() if leaves.get(at) != leaf]

    def _entries(self) -> dict[int, AuditEntry]:
        trail = PostgresAuditTrail(self.pool, audit_trail.follower(self.pool), self._people().reader)
        return {entry.position: entry for entry in trail.page(AuditFilter(limit=100_000)).entries}

    def _leaves(self) -> dict[int, bytes]:
        with self.pool.connection() as connection:
            batches = list(read_all(connection, 0, 1000))
        return {one.position: leaf_of(one.event, one.row) for batch in batches for one in batch}


def _text_of(error: Any) -> str:
    if isinstance(error, CredentialIntegrityError):
        return error.reason
    return str(error) or type(error).__name__
