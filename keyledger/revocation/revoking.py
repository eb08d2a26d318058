"""Finds the credentials that a leak has hit, and deletes them.

Promises: a plan changes nothing. Each deletion is an event of its own, with the leak's causation id, at the version
that was found, so a key that was replaced meanwhile stays. A frozen tenant's credentials are deleted, too. What was
deleted stays deleted when the command breaks off; run again, it deletes the rest. One credential that cannot be deleted
stops no other.
Memory is bounded by the number of credentials that are hit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from uuid import UUID, uuid5

from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from domain.audit.personal_members import disclosures_of
from domain.credentials.command_batch import CredentialCommands
from domain.credentials.commands import DeleteCredential, Precondition
from domain.credentials.credential import CredentialSealed, stream_id
from domain.credentials.fleet import CredentialPlace, FleetFilter
from domain.errors import CredentialNotFoundError, ServiceError, StoreUnavailableError, VersionConflictError
from domain.event_codec import event_of
from domain.events.event import Clock, CommandMeta, Event
from domain.events.event_code import LogRow
from domain.events.event_log import PresumingLog
from domain.events.personal import Disclosing
from keyledger.encryption.keyring import NoKeyring
from keyledger.revocation.leak import Leak
from projections.audit import audit_trail
from projections.credentials.current_credentials import PostgresCurrentCredentials
from projections.credentials.fleet import PostgresFleet
from projections.database.connections import BoundedConnection, unavailable

PAGE = 500
"""Credentials that are looked at together."""
TOGETHER = 50
"""Deletions of one commit."""

_STREAMS = """
SELECT notification_id, originator_id, originator_version, topic, state, code_key_id, code
  FROM keyledger_events WHERE originator_id = ANY (%s) ORDER BY originator_id, originator_version
"""


@dataclass(frozen=True, slots=True)
class Hit:
    """A live credential that a leak has hit."""

    tenant_id: str
    provider: str
    version: int
    masked_key: str


@dataclass(frozen=True, slots=True)
class Revoked:
    """The outcome of a revocation. changed: those that were set again or deleted since they were found.

    failed: those that could not be deleted, each with the error.
    """

    deleted: Sequence[Hit]
    changed: Sequence[Hit]
    failed: Sequence[tuple[Hit, str]]


class Revoking:
    """Revocations on one database. people: opens fingerprints."""

    def __init__(
        self, pool: ConnectionPool[BoundedConnection], log: PresumingLog, people: Disclosing, clock: Clock
    ) -> None:
        self._pool = pool
        self._people = people
        self._commands = CredentialCommands(log, PostgresCurrentCredentials(pool), NoKeyring(), clock)

    def hits(self, leak: Leak) -> list[Hit]:
        """Return the credentials that are hit, by tenant and provider.

        Raises StoreUnavailableError, CredentialIntegrityError for an event that cannot be read.
        """
        audit_trail.follower(self._pool).run()  # so that a credential whose row was removed is found, too
        return [hit for places in self._pages() for hit in self._hits_of(places, leak)]

    def revoke(self, leak: Leak, hits: Sequence[Hit], meta: CommandMeta) -> Revoked:
        """Delete what was found. Raises StoreUnavailableError."""
        deleted: list[Hit] = []
        changed: list[Hit] = []
        failed: list[tuple[Hit, str]] = []
        for start in range(0, len(hits), TOGETHER):
            batch = hits[start : start + TOGETHER]
            outcomes = self._commands.handle_all([_deletion(leak, hit, meta) for hit in batch])
            for hit, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, VersionConflictError | CredentialNotFoundError):
                    changed.append(hit)
                elif isinstance(outcome, ServiceError) and not isinstance(outcome, StoreUnavailableError):
                    failed.append((hit, outcome.detail))
                elif isinstance(outcome, Exception):
                    raise outcome
                else:
                    deleted.append(hit)
        return Revoked(deleted, changed, failed)

    def _pages(self) -> Iterator[Sequence[CredentialPlace]]:
        fleet, after = PostgresFleet(self._pool), None
        while places := fleet.places(FleetFilter(), after, PAGE):
            yield places
            after = places[-1]

    def _hits_of(self, places: Sequence[CredentialPlace], leak: Leak) -> Iterator[Hit]:
        streams: dict[UUID, list[Event]] = {stream_id(*place): [] for place in places}
        with unavailable(), self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=tuple_row, binary=True)
            rows = cursor.execute(_STREAMS, [list(streams)]).fetchall()
        for row in map(LogRow._make, rows):
            streams[row.stream].append(event_of(row))
        asked = [event for events in streams.values() for event in leak.asks_about(events)]
        fingerprints: dict[UUID, dict[int, str]] = {stream: {} for stream in streams}
        for event, found in zip(asked, disclosures_of(asked, self._people), strict=True):
            if "fingerprint" in found:
                fingerprints[event.originator_id][event.originator_version] = found["fingerprint"].value
        for place in places:
            events = streams[stream_id(*place)]
            if leak.hits(events, fingerprints[stream_id(*place)]):
                last = events[-1]
                assert isinstance(last, CredentialSealed)  # noqa: S101  only a live one is hit
                yield Hit(*place, last.originator_version, last.masked_key)


def _deletion(leak: Leak, hit: Hit, meta: CommandMeta) -> DeleteCredential:
    command_id = str(uuid5(UUID(leak.causation_id), f"{hit.tenant_id}/{hit.provider}/{hit.version}"))
    own = replace(meta, command_id=command_id, causation_id=leak.causation_id, may_repeat=True)
    at_this_version = Precondition(versions=frozenset({hit.version}))
    return DeleteCredential(hit.tenant_id, hit.provider, own, at_this_version, by_operator=True)
