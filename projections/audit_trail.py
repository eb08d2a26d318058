"""The projection that auditors read: one entry for each event, in the order of the log, without any secret.

Promises: reading catches up with the log first, so a reader sees every write acknowledged before the read. Entries
never move, so the page after a position is the same at any time.
"""

from collections.abc import Iterable, MutableMapping, Sequence
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from domain.audit.entries import OF_A_CREDENTIAL, Action, AuditEntry, AuditFilter, action_of, facts_of
from domain.audit.request_events import Outcome
from domain.errors import CredentialIntegrityError
from domain.event import Event
from projections.catch_up import Appended, CatchUp
from projections.database.connections import BoundedConnection, Connection, Row, unavailable

TABLE = "audit_trail"
COLUMNS = (
    "position",
    "stream_id",
    "version",
    "recorded_at",
    "action",
    "outcome",
    "tenant_id",
    "provider",
    "actor",
    "role",
    "source",
    "client_address",
    "reason",
    "request_id",
    "command_id",
    "causation_id",
    "node_time",
    "masked_key",
    "key_id",
    "fingerprint",
    "details",
)
_TYPES = (
    *("int8", "uuid", "int8", "timestamptz", "text", "text", "uuid"),
    *(*["text"] * 9, "timestamptz", *["text"] * 3, "jsonb"),
)
_NO_DETAILS = Jsonb({}, dumps=lambda _: "{}")
_uuid = lru_cache(1 << 16)(UUID)
_TOPICS = """
SELECT originator_id, topic FROM keyledger_events
  JOIN unnest(%s::uuid[], %s::bigint[]) AS w (originator_id, originator_version)
 USING (originator_id, originator_version)
"""

_TEXTS = (
    "concat_ws(' ', action, actor, role, source, client_address, reason, request_id, command_id, causation_id,"
    " tenant_id::text, provider, masked_key, key_id, fingerprint, details::text)"
)

Topics = MutableMapping[int, str]
"""The topic of the last event so far, by stream; streams are integers because those are faster to look up."""


def project(appended: Appended, action: Action) -> tuple[object, ...]:
    """Return the row for one event, in the order of `COLUMNS`."""
    event = appended.event
    facts = facts_of(event)
    return (
        appended.position,
        event.originator_id,
        event.originator_version,
        event.timestamp,
        action.value,
        facts.outcome,
        _tenant(facts.tenant_id, appended.position) if facts.tenant_id else None,
        facts.provider,
        event.actor,
        event.role,
        event.source,
        event.client_address,
        event.reason,
        event.request_id,
        event.command_id,
        event.causation_id,
        datetime.fromisoformat(event.node_time),
        facts.masked_key,
        facts.key_id,
        facts.fingerprint,
        Jsonb(facts.details) if facts.details else _NO_DETAILS,
    )


def comparable(row: tuple[object, ...]) -> tuple[object, ...]:
    """Return a row of `project` as it is read back from the table."""
    details = row[-1]
    return (*row[:-1], details.obj if isinstance(details, Jsonb) else details)


def write(connection: Connection, batch: Sequence[Appended], table: str = TABLE, last: Topics | None = None) -> None:
    """Add the entries of a batch, inside the caller's transaction.

    last: topics known from earlier batches; the topics of this batch are added to it.
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


def follower(pool: ConnectionPool[BoundedConnection]) -> CatchUp:
    """Return the follower that keeps the audit trail at the head of the log."""
    return CatchUp(pool, TABLE, write)


class PostgresAuditTrail:
    """Reads the audit trail. Implements `domain.audit.entries.AuditTrail`."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], catch_up: CatchUp) -> None:
        self._pool = pool
        self._catch_up = catch_up

    def entries(self, wanted: AuditFilter) -> Sequence[AuditEntry]:
        """Return the matching entries, in order. Raises StoreUnavailableError, CredentialIntegrityError."""
        self._catch_up.run()
        conditions, values = _conditions(wanted)
        query = sql.SQL("SELECT * FROM audit_trail WHERE {} ORDER BY position {} LIMIT %s").format(
            sql.SQL(" AND ").join(map(sql.SQL, conditions)), sql.SQL("DESC" if wanted.newest_first else "ASC")
        )
        with unavailable(), self._pool.connection() as connection:
            rows = connection.execute(query, [*values, wanted.limit]).fetchall()
        return [_entry(row) for row in rows]


def _topics_before(connection: Connection, batch: Sequence[Appended], known: Topics) -> Iterable[tuple[int, str]]:
    """Read from the log the topic that precedes the batch, for each stream in it whose topic is not yet known."""
    first: dict[int, Event] = {}
    for appended in batch:
        first.setdefault(appended.event.originator_id.int, appended.event)
    continued = [event for stream, event in first.items() if event.originator_version > 1 and stream not in known]
    if not continued:
        return ()
    wanted = [[event.originator_id for event in continued], [event.originator_version - 1 for event in continued]]
    return [(row["originator_id"].int, row["topic"]) for row in connection.execute(_TOPICS, wanted)]


def _conditions(wanted: AuditFilter) -> tuple[list[str], list[object]]:
    tests: Sequence[tuple[str, object]] = (
        ("position > %s", wanted.after),
        ("position < %s", wanted.before),
        ("tenant_id = %s", wanted.tenant_id),
        ("provider = %s", wanted.provider),
        ("action = %s", wanted.action),
        ("action = ANY (%s)", list(OF_A_CREDENTIAL) if wanted.of_credential else None),
        ("outcome = %s", wanted.outcome),
        ("actor = %s", wanted.actor),
        ("key_id = %s", wanted.key_id),
        ("fingerprint = %s", wanted.fingerprint),
        ("recorded_at >= %s", wanted.since),
        ("recorded_at < %s", wanted.until),
        ("reason ILIKE %s", None if wanted.reason is None else _containing(wanted.reason)),
        *((f"{_TEXTS} ILIKE %s", _containing(text)) for text in wanted.texts),
    )
    stated = [(test, value) for test, value in tests if value is not None]
    return [test for test, _ in stated], [value for _, value in stated]


def _containing(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _entry(row: Row) -> AuditEntry:
    return AuditEntry(
        position=row["position"],
        timestamp=row["recorded_at"],
        action=_action(row["action"]),
        outcome=_outcome(row["outcome"]),
        tenant_id=str(row["tenant_id"]) if row["tenant_id"] else None,
        provider=row["provider"],
        version=row["version"],
        actor=row["actor"],
        role=row["role"],
        source=row["source"],
        client_address=row["client_address"],
        reason=row["reason"],
        request_id=row["request_id"],
        command_id=row["command_id"],
        causation_id=row["causation_id"],
        node_time=row["node_time"],
        masked_key=row["masked_key"],
        key_id=row["key_id"],
        fingerprint=row["fingerprint"],
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


def _outcome(stored: str) -> Outcome:
    try:
        return Outcome(stored)
    except ValueError:
        raise CredentialIntegrityError("audit-outcome-unknown") from None
