"""Compares `current_credentials` with the last event of each stream, and checks the binding of each token."""

from collections.abc import Sequence
from typing import TypedDict
from uuid import UUID

from psycopg import sql

from domain.credentials.credential import CredentialEvent, evolve, stream_id
from domain.credentials.secret import Sealer
from domain.errors import CredentialIntegrityError, UnreadableCredentialError
from keyledger.evidence.errors import EvidenceError
from keyledger.store_verification.findings import Progress, StoreVerdict
from projections.credentials.current_credentials import COLUMNS, project
from projections.database.connections import Connection
from projections.replay.replayable import last_events

_ROWS = """
SELECT {columns} FROM current_credentials
  JOIN unnest(%s::uuid[], %s::text[]) AS wanted (tenant_id, provider) USING (tenant_id, provider)
"""
_UNFOUNDED = """
SELECT c.tenant_id::text, c.provider, c.stream_id FROM current_credentials AS c
 WHERE NOT EXISTS (SELECT 1 FROM keyledger_events AS e WHERE e.originator_id = c.stream_id)
    OR (SELECT count(*) FROM current_credentials AS o WHERE o.stream_id = c.stream_id) > 1
 ORDER BY 1, 2
"""


class _Place(TypedDict):
    position: int
    tenant_id: str
    provider: str


def compare_credentials(
    connection: Connection, sealer: Sealer | None, verdict: StoreVerdict, progress: Progress
) -> None:
    """Compare every row, and check every binding. sealer: None without an encryption key.

    Raises EvidenceError.
    """
    counted = connection.execute("SELECT count(*) AS n FROM current_credentials").fetchone()
    total, rows = counted["n"] if counted else 0, 0
    for batch in last_events(connection, verdict.events):
        events = [(one.position, one.event) for one in batch if isinstance(one.event, CredentialEvent)]
        stored = _stored(connection, [event for _, event in events])
        for position, event in events:
            place = _Place(position=position, tenant_id=event.tenant_id, provider=event.provider)
            _compare(event, stored.get((event.tenant_id, event.provider)), place)
            _check_binding(event, sealer, verdict, place)
            rows += 1
        progress("current credentials", rows, max(rows, total))
    if rows != total:
        tenant_id, provider = _extra(connection)
        meaning = "current_credentials has a row that no event accounts for"
        raise EvidenceError(meaning, tenant_id=tenant_id, provider=provider, part="current")


def _extra(connection: Connection) -> tuple[str | None, str | None]:
    """Return the place of a row too many: of two rows for one stream, that of the row which the stream is not of."""
    rows = connection.execute(_UNFOUNDED).fetchall()
    unnamed = [row for row in rows if row["stream_id"] != stream_id(row["tenant_id"], row["provider"])]
    row = next(iter([*unnamed, *rows]), {"tenant_id": None, "provider": None})
    return row["tenant_id"], row["provider"]


def _stored(connection: Connection, events: Sequence[CredentialEvent]) -> dict[tuple[str, str], dict[str, object]]:
    query = sql.SQL(_ROWS).format(columns=sql.SQL(", ").join(map(sql.Identifier, COLUMNS)))
    wanted = [[event.tenant_id for event in events], [event.provider for event in events]]
    return {(str(row["tenant_id"]), row["provider"]): row for row in connection.execute(query, wanted)}


def _compare(event: CredentialEvent, row: dict[str, object] | None, place: _Place) -> None:
    if row is None:
        raise EvidenceError("current_credentials has no row for it", **place, part="current")
    if row != project(event) | {"tenant_id": UUID(event.tenant_id)}:
        meaning = "its row in current_credentials does not match its last event"
        raise EvidenceError(meaning, **place, part="current")


def _check_binding(event: CredentialEvent, sealer: Sealer | None, verdict: StoreVerdict, place: _Place) -> None:
    state = evolve(event)
    if state.sealed is None:
        return
    verdict.credentials += 1
    try:
        if sealer is None:
            raise UnreadableCredentialError(state.sealed.key_id, "key-not-in-keyring")
        sealer.check(state.sealed, state.context)
    except UnreadableCredentialError:
        verdict.unopenable += 1
    except CredentialIntegrityError:
        meaning = "its token is not bound to this place: the token, its binding or the settings were changed or moved"
        raise EvidenceError(meaning, **place, part="bindings") from None
