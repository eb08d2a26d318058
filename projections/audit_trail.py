"""The view that auditors read: one entry for each event, in the order of the log, without any secret.

Promises: a reader sees every write that was acknowledged before he asked, because reading catches up first; entries
never change place, so a page that starts after a position is the same whenever it is asked for.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from psycopg import sql
from psycopg_pool import ConnectionPool

from domain.audit import Action, AuditEntry, AuditFilter
from domain.credential import CredentialDeleted, CredentialEvent, CredentialReencrypted, CredentialSet, evolve
from domain.encryption_keys import (
    EncryptionKeyIntroduced,
    EncryptionKeyRetired,
    KeyRotationCompleted,
    KeyRotationStarted,
)
from domain.event import Event
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


def action_of(event: Event, before: Action | None) -> Action:
    """Return what `event` did to the stream to which `before` was done last. None: it is the stream's first."""
    if isinstance(event, CredentialSet):
        return Action.SET if before in {None, Action.DELETED} else Action.REPLACED
    return ACTIONS[type(event)]


ACTIONS: Mapping[type[Event], Action] = {
    CredentialDeleted: Action.DELETED,
    CredentialReencrypted: Action.REENCRYPTED,
    EncryptionKeyIntroduced: Action.KEY_INTRODUCED,
    KeyRotationStarted: Action.ROTATION_STARTED,
    KeyRotationCompleted: Action.ROTATION_COMPLETED,
    EncryptionKeyRetired: Action.KEY_RETIRED,
}
"""What the events did whose action does not depend on what was before. A set is the one that does."""

DETAILS = ("rotation_id", "credentials", "reencrypted", "skipped", "failed", "seconds", "unrecoverable")
"""Members of events that the trail shows as details."""


def project(appended: Appended, action: Action) -> tuple[object, ...]:
    """Return the row for one event, in the order of `COLUMNS`."""
    event = appended.event
    state = evolve(event) if isinstance(event, CredentialEvent) else None
    details = {name: getattr(event, name) for name in DETAILS if hasattr(event, name)}
    return (
        appended.position,
        event.originator_id,
        event.originator_version,
        event.timestamp,
        action.value,
        state.tenant_id if state else None,
        state.provider if state else None,
        event.actor,
        event.request_id,
        event.command_id,
        state.masked_key if state else None,
        state.sealed.key_id if state and state.sealed else getattr(event, "key_id", None),
        json.dumps(details, sort_keys=True),
    )


def write(connection: Connection, batch: Sequence[Appended], table: str = TABLE) -> None:
    """Add the entries of a batch, inside the caller's transaction."""
    last = dict(_previous(connection, batch, table))
    copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    )
    with connection.cursor() as cursor, cursor.copy(copy) as rows:
        for appended in batch:
            stream = appended.event.originator_id
            last[stream] = action_of(appended.event, last.get(stream))
            rows.write_row(project(appended, last[stream]))


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


def _previous(connection: Connection, batch: Sequence[Appended], table: str) -> Iterable[tuple[UUID, Action]]:
    first = {appended.event.originator_id: appended.event.originator_version for appended in reversed(batch)}
    continued = {stream: version - 1 for stream, version in first.items() if version > 1}
    query = sql.SQL(
        "SELECT t.stream_id, t.action FROM {} AS t"
        " JOIN unnest(%s::uuid[], %s::bigint[]) AS w (stream_id, version) USING (stream_id, version)"
    ).format(sql.Identifier(table))
    rows = connection.execute(query, [list(continued), list(continued.values())]) if continued else ()
    return [(row["stream_id"], Action(row["action"])) for row in rows]


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
        action=Action(row["action"]),
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
