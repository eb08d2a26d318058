"""The projection that auditors read: one row for each event, in the order of the log, without any secret.

Promises: a row is a pure function of the log. Personal members are in it as the log has them, sealed; the token of the
actor is in a column of its own, so that entries of one person are found without opening them.
"""

from collections.abc import Iterable, MutableMapping, Sequence
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from domain.audit.entries import Action, action_by_type, facts_of
from domain.audit.event_catalogue import BY_TOPIC
from domain.audit.request_events import Outcome
from domain.credentials.providers import CONFIG_FIELDS
from domain.errors import CredentialIntegrityError
from domain.events.event_code import LogRow
from domain.events.personal import person_in
from projections.catch_up import Appended, CatchUp
from projections.database.connections import BoundedConnection, Connection
from projections.quick_events import Quick, SealedMembers

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
    "person",
)
_TYPES = (
    *("int8", "uuid", "int8", "timestamptz", "text", "text", "uuid"),
    *(*["text"] * 9, "timestamptz", *["text"] * 3, "jsonb", "text"),
)
_DETAILS = COLUMNS.index("details")
_NO_DETAILS = Jsonb({}, dumps=lambda _: "{}")
_uuid = lru_cache(1 << 16)(UUID)
_TOPICS = """
SELECT originator_id, topic FROM keyledger_events
  JOIN unnest(%s::uuid[], %s::bigint[]) AS w (originator_id, originator_version)
 USING (originator_id, originator_version)
"""

Topics = MutableMapping[int, str]
"""The topic of the last event so far, by stream; streams are integers because those are faster to look up."""


def project(appended: Appended, action: Action) -> tuple[object, ...]:
    """Return the row for one event, in the order of `COLUMNS`."""
    if appended.quick is not None:
        return _quick_row(appended.row, appended.quick, action)
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
        person_in(event.actor),
    )


def _quick_row(row: LogRow, quick: Quick, action: Action) -> tuple[object, ...]:
    told = quick.members
    masked_key = key_id = fingerprint = None
    details = _NO_DETAILS
    if isinstance(told, SealedMembers):
        masked_key, key_id, fingerprint = told.masked_key, told.key_id, told.fingerprint
        if told.endpoint or told.api_version or told.deployment_name:
            settings = ((name, getattr(told, name)) for name in CONFIG_FIELDS)
            details = Jsonb({name: value for name, value in settings if value is not None})
    return (
        row.position,
        row.stream,
        row.version,
        quick.time,
        action.value,
        Outcome.SUCCESS.value,
        _tenant(told.tenant_id, row.position),
        told.provider,
        told.actor,
        told.role,
        told.source,
        told.client_address,
        told.reason,
        told.request_id,
        told.command_id,
        told.causation_id,
        quick.node_time,
        masked_key,
        key_id,
        fingerprint,
        details,
        person_in(told.actor),
    )


def comparable(row: tuple[object, ...]) -> tuple[object, ...]:
    """Return a row of `project` as it is read back from the table."""
    details = row[_DETAILS]
    return (*row[:_DETAILS], details.obj if isinstance(details, Jsonb) else details, *row[_DETAILS + 1 :])


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
            topic, stream = appended.row.topic, appended.row.stream.int
            rows.write_row(project(appended, action_by_type(BY_TOPIC[topic], last.get(stream))))
            last[stream] = topic


def follower(pool: ConnectionPool[BoundedConnection]) -> CatchUp:
    """Return the follower that keeps the audit trail at the head of the log."""
    return CatchUp(pool, TABLE, write)


def _topics_before(connection: Connection, batch: Sequence[Appended], known: Topics) -> Iterable[tuple[int, str]]:
    """Read from the log the topic that precedes the batch, for each stream in it whose topic is not yet known."""
    first: dict[int, LogRow] = {}
    for appended in batch:
        first.setdefault(appended.row.stream.int, appended.row)
    continued = [row for stream, row in first.items() if row.version > 1 and stream not in known]
    if not continued:
        return ()
    wanted = [[row.stream for row in continued], [row.version - 1 for row in continued]]
    return [(row["originator_id"].int, row["topic"]) for row in connection.execute(_TOPICS, wanted)]


def _tenant(tenant_id: str, position: int) -> UUID:
    try:
        return _uuid(tenant_id)
    except ValueError:
        raise CredentialIntegrityError(f"event-malformed at position {position}") from None
