"""The view that auditors read: one entry for each event, in the order of the log, without any secret.

Promises: a reader sees every write that was acknowledged before he asked, because reading catches up first; entries
never change place, so a page that starts after a position is the same whenever it is asked for.
"""

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from domain.audit import Action, AuditEntry, AuditFilter
from domain.credential import (
    CredentialDeleted,
    CredentialEvent,
    CredentialReencrypted,
    CredentialSealed,
    CredentialSet,
)
from domain.encryption_keys import (
    EncryptionKeyIntroduced,
    EncryptionKeyRetired,
    KeyRotationCompleted,
    KeyRotationStarted,
)
from domain.errors import CredentialIntegrityError
from domain.event import Event
from domain.restore import RestoreAccepted
from projections.catch_up import Appended, CatchUp
from projections.postgres import BoundedConnection, Connection, Row, unavailable

TABLE = "audit_trail"
COLUMNS = (
    "position",
    "stream_id",
    "version",
    "recorded_at",
    "action",
    "tenant_id",
    "provider",
    "actor",
    "request_id",
    "command_id",
    "masked_key",
    "key_id",
    "details",
)
_TYPES = ("int8", "uuid", "int8", "timestamptz", "text", "uuid", *["text"] * 6, "jsonb")
_NO_DETAILS = Jsonb({}, dumps=lambda _: "{}")
_uuid = lru_cache(1 << 16)(UUID)
_TOPICS = """
SELECT originator_id, topic FROM keyledger_events
  JOIN unnest(%s::uuid[], %s::bigint[]) AS w (originator_id, originator_version)
 USING (originator_id, originator_version)
"""

Topics = MutableMapping[int, str]
"""By stream, as a number that is cheap to look up, the topic of its last event so far."""


def action_of(event: Event, before: str | None) -> Action:
    """Return what `event` did to a stream whose event before it has the topic `before`. None: it is the first."""
    if isinstance(event, CredentialSet):
        return Action.SET if before in {None, CredentialDeleted.TOPIC} else Action.REPLACED
    return ACTIONS[type(event)]


ACTIONS: Mapping[type[Event], Action] = {
    CredentialDeleted: Action.DELETED,
    CredentialReencrypted: Action.REENCRYPTED,
    EncryptionKeyIntroduced: Action.KEY_INTRODUCED,
    KeyRotationStarted: Action.ROTATION_STARTED,
    KeyRotationCompleted: Action.ROTATION_COMPLETED,
    EncryptionKeyRetired: Action.KEY_RETIRED,
    RestoreAccepted: Action.RESTORE_ACCEPTED,
}
"""What the events did whose action does not depend on what was before. A set is the one that does."""

DETAILS = (
    "rotation_id",
    "credentials",
    "reencrypted",
    "skipped",
    "failed",
    "seconds",
    "unrecoverable",
    "from_position",
    "to_position",
)
"""Members of events that the trail shows as details."""


def project(appended: Appended, action: Action) -> tuple[object, ...]:
    """Return the row for one event, in the order of `COLUMNS`."""
    event = appended.event
    about = event if isinstance(event, CredentialEvent) else None
    live = event if isinstance(event, CredentialSealed) else None
    return (
        appended.position,
        event.originator_id,
        event.originator_version,
        event.timestamp,
        action.value,
        _tenant(about.tenant_id, appended.position) if about else None,
        about.provider if about else None,
        event.actor,
        event.request_id,
        event.command_id,
        live.masked_key if live else None,
        live.sealed.key_id if live else getattr(event, "key_id", None),
        _NO_DETAILS if about else Jsonb({name: getattr(event, name) for name in DETAILS if hasattr(event, name)}),
    )


def write(connection: Connection, batch: Sequence[Appended], table: str = TABLE, last: Topics | None = None) -> None:
    """Add the entries of a batch, inside the caller's transaction.

    last: what is known of streams from batches before, and what this one adds to it.
    """
    last = {} if last is None else last
    last.update(_topics_before(connection, batch, last))
    copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    )
    with connection.cursor() as cursor, cursor.copy(copy) as rows:
        rows.set_types(_TYPES)
        for appended in batch:
            event = appended.event
            stream = event.originator_id.int
            rows.write_row(project(appended, action_of(event, last.get(stream))))
            last[stream] = event.TOPIC


class PostgresAuditTrail:
    """Reads the view. Implements `domain.ports.AuditTrail`."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], catch_up: CatchUp) -> None:
        self._pool = pool
        self._catch_up = catch_up

    def entries(self, wanted: AuditFilter) -> Sequence[AuditEntry]:
        """Return the entries that fit, oldest first. Raises StoreUnavailable, CredentialIntegrityError."""
        self._catch_up.run()
        conditions, values = _conditions(wanted)
        query = sql.SQL("SELECT * FROM audit_trail WHERE {} ORDER BY position LIMIT %s").format(
            sql.SQL(" AND ").join(map(sql.SQL, conditions))
        )
        with unavailable(), self._pool.connection() as connection:
            rows = connection.execute(query, [*values, wanted.limit]).fetchall()
        return [_entry(row) for row in rows]


def _topics_before(connection: Connection, batch: Sequence[Appended], known: Topics) -> Iterable[tuple[int, str]]:
    """Return the topic before the batch of each stream that continues in it and is not known. Read from the log."""
    first: dict[int, Event] = {}
    for appended in batch:
        first.setdefault(appended.event.originator_id.int, appended.event)
    continued = [event for stream, event in first.items() if event.originator_version > 1 and stream not in known]
    if not continued:
        return ()
    wanted = [[event.originator_id for event in continued], [event.originator_version - 1 for event in continued]]
    return [(row["originator_id"].int, row["topic"]) for row in connection.execute(_TOPICS, wanted)]


def _conditions(wanted: AuditFilter) -> tuple[list[str], list[str | int | datetime]]:
    tests = (
        ("position > %s", wanted.after),
        ("tenant_id = %s", wanted.tenant_id),
        ("provider = %s", wanted.provider),
        ("actor = %s", wanted.actor),
        ("recorded_at >= %s", wanted.since),
        ("recorded_at < %s", wanted.until),
    )
    stated = [(test, value) for test, value in tests if value is not None]
    return [test for test, _ in stated], [value for _, value in stated]


def _entry(row: Row) -> AuditEntry:
    return AuditEntry(
        position=row["position"],
        timestamp=row["recorded_at"],
        action=_action(row["action"]),
        tenant_id=str(row["tenant_id"]) if row["tenant_id"] else None,
        provider=row["provider"],
        version=row["version"],
        actor=row["actor"],
        request_id=row["request_id"],
        command_id=row["command_id"],
        masked_key=row["masked_key"],
        key_id=row["key_id"],
        details=row["details"],
    )


def _tenant(tenant_id: str, position: int) -> UUID:
    try:
        return _uuid(tenant_id)
    except ValueError:
        raise CredentialIntegrityError(f"event-malformed at position {position}") from None


def _action(stored: str) -> Action:
    try:
        return Action(stored)
    except ValueError:
        raise CredentialIntegrityError("audit-action-unknown") from None
