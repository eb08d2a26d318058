"""Erases people and tenants: destroys their keys and records it, so that no one reads their members again.

Promises: once `erase` returns, the keys are gone for every node, the erasure is in the log and its token in DATA_DIR.
No append that begins later uses one of the keys: the database refuses it, and the node seals again under a new key.
What a crash interrupted, a restored backup brought back, or another node erased, `settle` brings in order: at every
start, and once a minute. A tenant whom a backup brought back loses its credentials again. Proofs are not affected.
Limits: copies of the keys in backups and in files of the database server end with these.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from psycopg_pool import ConnectionPool

from domain.events.event import Clock, CommandMeta, Event
from domain.events.event_log import StreamLog
from domain.operations.erasure import ERASURE_STREAM, PersonErased, erase_person, erased_in, expire
from keyledger.encryption.personal_keys import Kind, PersonalKeys
from keyledger.log.decided_append import append_decided
from keyledger.privacy.erasure_file import ErasureFile
from keyledger.privacy.tenant_credentials import TenantCredentials
from projections.database.connections import BoundedConnection, unavailable

E = TypeVar("E", bound=Event)

_DESTROY_PEOPLE = """
UPDATE people SET lookup = NULL, erased_at = now() WHERE person = ANY (%s) AND lookup IS NOT NULL
"""
_PRESENT = """
SELECT * FROM (
    SELECT p.person, p.kind, p.lookup, (SELECT count(*) FROM personal_keys AS k WHERE k.person = p.person) AS keys
      FROM people AS p WHERE p.person = ANY (%s)) AS found
 WHERE lookup IS NOT NULL OR keys > 0
"""
# A person without keys is forgotten; one who acts again gets another token.
_EXPIRE = """
WITH gone AS (DELETE FROM personal_keys WHERE day < %(before)s RETURNING person)
UPDATE people SET lookup = NULL, erased_at = now()
 WHERE lookup IS NOT NULL AND person IN (SELECT person FROM gone)
   AND NOT EXISTS (SELECT 1 FROM personal_keys AS k WHERE k.person = people.person AND k.day >= %(before)s)
"""
_FORGET_OPERATORS = (
    "UPDATE key_rotations SET actor = %s WHERE actor = ANY (%s) AND finished_at IS NOT NULL",
    "UPDATE projection_replays SET actor = %s WHERE actor = ANY (%s) AND finished_at IS NOT NULL",
)
_OPERATORS = """
SELECT actor FROM key_rotations WHERE finished_at IS NOT NULL UNION
SELECT actor FROM projection_replays WHERE finished_at IS NOT NULL
"""
ERASED = "(erased)"
"""Replaces the name of a person who was erased in the tables of rotations and replays."""


@dataclass(frozen=True, slots=True)
class Present:
    """A person or tenant who has keys."""

    person: str
    kind: str
    keys: int


class Eraser:
    """Erases people from one ledger."""

    def __init__(
        self,
        pool: ConnectionPool[BoundedConnection],
        log: StreamLog,
        keys: PersonalKeys,
        file: ErasureFile,
        clock: Clock,
    ) -> None:
        self._credentials = TenantCredentials(pool, log, clock)
        self._pool = pool
        self._log = log
        self._keys = keys
        self._file = file
        self._clock = clock

    def find(self, kind: Kind, name: str) -> Present | None:
        """Return the person or tenant of a name; None if nothing is kept. Raises StoreUnavailableError."""
        person = self._keys.person_named(kind, name)
        return next(iter(self._present([person])), None) if person is not None else None

    def live_providers(self, tenant_id: str) -> list[str]:
        """Return the providers for which a tenant has a live credential. Raises StoreUnavailableError."""
        return self._credentials.providers(tenant_id)

    def end_credentials(self, tenant_id: str, meta: CommandMeta) -> int:
        """Delete the credentials of a tenant and return how many there were. Raises StoreUnavailableError."""
        return self._credentials.end(tenant_id, meta)

    def erase(self, found: Present, erased_tenant: str | None, meta: CommandMeta) -> PersonErased:
        """Destroy all keys of a person or tenant.

        Raises UnreadableFileError, OSError if DATA_DIR cannot be written, StoreUnavailableError.
        """
        self._file.add([found.person])
        event = self._record(found, erased_tenant, meta)
        self._destroy([found.person])
        self._forget_operators()
        return event

    def settle(self, meta: Callable[[], CommandMeta]) -> None:
        """Apply every erasure that the log or DATA_DIR knows of.

        meta: the service, as the author of erasures that a restored log has lost.
        Raises UnreadableFileError, OSError, StoreUnavailableError.
        """
        recorded, kept = erased_in(self._log.stream(ERASURE_STREAM)), self._file.read()
        if recorded.keys() - kept:
            self._file.add(recorded)
        present = self._present([*recorded, *kept])
        for found in present:
            if found.person not in recorded:
                self._record(found, self._ended_tenant(found, meta()), meta())
        self._destroy([found.person for found in present])
        self._forget_operators()

    def expire(self, days: int, meta: Callable[[], CommandMeta]) -> None:
        """Destroy the keys of people for days that ended more than `days` days ago. Raises StoreUnavailableError."""
        before = self._clock().date() - timedelta(days=days)
        with unavailable(), self._pool.connection() as connection:
            row = connection.execute("SELECT count(*) AS n FROM personal_keys WHERE day < %s", [before]).fetchone()
        if row is None or not row["n"]:
            return
        by, count = meta(), row["n"]
        self._append(lambda last: expire(last, before, count, by, self._clock()))
        with unavailable(), self._pool.connection() as connection, connection.transaction():
            connection.execute("SELECT keyledger_lock_log()")
            connection.execute(_EXPIRE, {"before": before})
        self._keys.forget()

    def _ended_tenant(self, found: Present, meta: CommandMeta) -> str | None:
        """Delete the credentials of a tenant whom a backup brought back, and return its id; None for a person."""
        if found.kind != Kind.TENANT:
            return None
        live = self._keys.people_named(Kind.TENANT, self._credentials.tenants())
        tenant = next((name for name, person in live.items() if person == found.person), None)
        if tenant is not None:
            self._credentials.end(tenant, meta)
        return tenant

    def _present(self, people: Iterable[str]) -> list[Present]:
        with unavailable(), self._pool.connection() as connection:
            rows = connection.execute(_PRESENT, [list(people)]).fetchall()
        return [Present(row["person"], row["kind"], row["keys"]) for row in rows]

    def _record(self, found: Present, erased_tenant: str | None, meta: CommandMeta) -> PersonErased:
        return self._append(
            lambda last: erase_person(last, found.kind, found.person, found.keys, erased_tenant, meta, self._clock())
        )

    def _append(self, made: Callable[[Event | None], E]) -> E:
        (event,) = append_decided(self._log, lambda: [made(self._log.last(ERASURE_STREAM))])
        return event

    def _destroy(self, people: list[str]) -> None:
        if not people:
            return
        with unavailable(), self._pool.connection() as connection, connection.transaction():
            connection.execute("SELECT keyledger_lock_log()")
            connection.execute(_DESTROY_PEOPLE, [people])
            connection.execute("DELETE FROM personal_keys WHERE person = ANY (%s)", [people])
        self._keys.forget()

    def _forget_operators(self) -> None:
        """Remove names of people who have no keys any more from the tables of what was under way."""
        with unavailable(), self._pool.connection() as connection:
            names = {row["actor"] for row in connection.execute(_OPERATORS)} - {ERASED}
        gone = sorted(names - self._keys.people_named(Kind.ACTOR, names).keys())
        if gone:
            with unavailable(), self._pool.connection() as connection:
                for statement in _FORGET_OPERATORS:
                    connection.execute(statement, [ERASED, gone])
