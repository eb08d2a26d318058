"""Two loops that write event rows and view rows which are ready: what a rotation is measured against.

`plain_loop` is what one would write first: prepared statements, pipelined, in one transaction for each batch. It keeps
the positions itself and takes no lock. `one_call_loop` goes through the append of the log.
"""

import itertools
import json
import time
from collections.abc import Callable, Sequence

from domain.credentials.credential import CredentialEvent
from domain.event_codec import encode
from projections.credentials.current_credentials import project
from projections.database.connections import BoundedConnection


def one_call_loop(connection: BoundedConnection, batches: Sequence[Sequence[CredentialEvent]]) -> float:
    """Append every batch by one call; return the seconds it took, once the rows were ready."""
    ready = [_columns(batch) for batch in batches]

    def write() -> None:
        for columns in ready:
            connection.execute("SELECT keyledger_append(%b, %b::bigint[], %b, %b, %s::jsonb)", columns, prepare=True)

    return seconds(write)


_INSERT = """
INSERT INTO keyledger_events (originator_id, originator_version, topic, state, notification_id)
VALUES (%s, %s, %s, %s, %s)
"""
_UPSERT = """
INSERT INTO current_credentials (tenant_id, provider, version, token, binding, key_id, masked_key, endpoint,
        api_version, deployment_name, set_at, stream_id)
VALUES (%(tenant_id)s, %(provider)s, %(version)s, %(token)s, %(binding)s, %(key_id)s, %(masked_key)s, %(endpoint)s,
        %(api_version)s, %(deployment_name)s, %(set_at)s, %(stream_id)s)
    ON CONFLICT (tenant_id, provider) DO UPDATE SET
       version = excluded.version, token = excluded.token, binding = excluded.binding, key_id = excluded.key_id,
       masked_key = excluded.masked_key, endpoint = excluded.endpoint, api_version = excluded.api_version,
       deployment_name = excluded.deployment_name, set_at = excluded.set_at, stream_id = excluded.stream_id
"""


def plain_loop(connection: BoundedConnection, batches: Sequence[Sequence[CredentialEvent]]) -> float:
    """Insert and upsert every batch in a transaction; return the seconds it took, once the rows were ready."""
    head = connection.execute("SELECT max(notification_id) AS head FROM keyledger_events").fetchone()
    position = itertools.count((head or {"head": 0})["head"] + 1)
    ready = [
        (
            [(e.originator_id, e.originator_version, e.TOPIC, encode(e), next(position)) for e in batch],
            [project(e) for e in batch],
        )
        for batch in batches
    ]

    def write() -> None:
        for event_rows, view_rows in ready:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(_INSERT, event_rows)
                cursor.executemany(_UPSERT, view_rows)

    return seconds(write)


def _columns(events: Sequence[CredentialEvent]) -> list[object]:
    return [
        [event.originator_id for event in events],
        [event.originator_version for event in events],
        [event.TOPIC for event in events],
        [encode(event) for event in events],
        json.dumps([project(event) for event in events], default=str),
    ]


def seconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
