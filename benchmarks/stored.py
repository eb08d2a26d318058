"""Databases with credentials in them: an embedded PostgreSQL with fsync on, filled without the cost of a command each.

The events and rows are those that commands would have stored, sealed and bound for their places, so every one opens.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg

from benchmarks.frame import apart
from benchmarks.rings import sealing_ring
from domain.credentials.commands import SetCredential
from domain.credentials.credential import CredentialEvent, decide
from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import Secret
from domain.event_codec import encode
from domain.events.event import CommandMeta
from domain.operations.replay import Swap
from keyledger import embedded_postgres
from keyledger.encryption.keyring import Keyring
from projections.database.migration import migrate
from projections.replay.replaying import PROJECTIONS, replay_projection

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_META = CommandMeta("benchmark", "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002")
_COPY = (
    "COPY keyledger_events (originator_id, originator_version, topic, state, notification_id)"
    " FROM STDIN (FORMAT binary)"
)


@contextmanager
def database(folder: Path, name: str) -> Iterator[str]:
    """Give the address of a migrated database of its own while the block lasts."""
    with embedded_postgres.start(folder / "postgres") as server:
        dsn = server.dsn(name)
        migrate(dsn)
        yield dsn


def fill(dsn: str, key: str, count: int) -> None:
    """Store a credential for openai for each of `count` tenants, and build all views."""
    apart(_fill, dsn, key, count)


def tenant(number: int) -> str:
    """Return a tenant by its number, from 1."""
    return str(UUID(int=number, version=4))


def _fill(dsn: str, key: str, count: int) -> None:
    ring = sealing_ring(Secret(key))
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(("uuid", "int8", "text", "bytea", "int8"))
        for position, event in enumerate(_events(ring, count), start=1):
            row = (event.originator_id, event.originator_version, event.TOPIC, encode(event), position)
            copy.write_row(row)
    for view in PROJECTIONS:
        replay_projection(dsn, view, swap=Swap.ALWAYS)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def _events(ring: Keyring, count: int) -> Iterator[CredentialEvent]:
    for number in range(1, count + 1):
        secret = Secret(f"sk-benchmark-{number:048}")
        command = SetCredential(tenant(number), "openai", secret, CredentialConfig(), _META)
        yield from decide(None, command, _BEGIN + timedelta(seconds=number), ring)
