"""A forger with a database connection: a superuser with the triggers off, or the serving role with its own rights.

The superuser puts the triggers back afterwards, as one who wants to stay unnoticed would. A forger reads the whole
database, and knows no key.
"""

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from domain.credentials.credential import stream_id
from domain.events.event import record_stream, utc_now
from tests.support.deployment import Place

ALICE = "alice-the-honest-admin"
Row = dict[str, Any]
Database = psycopg.Connection[Row]
FAR = 1_000_000_000
"""A position that no event has."""
_APPEND_ONLY = ("keyledger_events", "keyledger_ledger")


class By(Enum):
    """The role of the forger."""

    SUPERUSER = "a superuser"
    APPLICATION = "the serving role"


@contextmanager
def connected(url: str) -> Iterator[Database]:
    """A connection on which each statement is committed by itself."""
    with psycopg.Connection[Row].connect(url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@dataclass(frozen=True)
class Access:
    """How the database is reached: by a superuser's address, and by the name of the serving role."""

    url: str
    role: str

    @contextmanager
    def open(self, by: By) -> Iterator[Database]:
        url = self.url if by is By.SUPERUSER else make_conninfo(self.url, user=self.role)
        with connected(url) as connection:
            if by is By.APPLICATION:
                yield connection
                return
            with unguarded(connection):
                yield connection

    @contextmanager
    def taken(self, by: By, connection: Database) -> Iterator[Database]:
        """Forge on a superuser's connection that is in a transaction. By the serving role: with its rights only."""
        if by is By.SUPERUSER:
            with unguarded(connection):
                yield connection
            return
        with connection.transaction():
            connection.execute(sql.SQL("SET LOCAL SESSION AUTHORIZATION {}").format(sql.Identifier(self.role)))
            yield connection
            connection.execute("RESET SESSION AUTHORIZATION")


@contextmanager
def unguarded(connection: Database) -> Iterator[None]:
    """Switch the triggers of the append-only tables off, and on again, so that no one ever sees them off."""
    with connection.transaction():
        for table in _APPEND_ONLY:
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL".encode())
        yield
        for table in _APPEND_ONLY:
            for row in connection.execute(_TRIGGERS, [table]).fetchall():
                connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {row['tgname']}".encode())


_TRIGGERS = (
    "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND NOT tgisinternal AND tgname LIKE 'keyledger%%'"
)
"""Of a table that is still there, without the forger's own."""


@dataclass
class Forger:
    """Changes a store. other: another ledger that was run with the same keys, for things to copy from.

    abandoned: events of a part of the log that an accepted restore gave up.
    """

    database: Database
    chance: random.Random
    by: By
    other: Database
    abandoned: Sequence[Row] = ()

    def sql(self, statement: str, *values: object) -> list[Row]:
        """Run a statement; return its rows."""
        cursor = self.database.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def one(self, statement: str, *values: object) -> Row:
        """Return one row of a query, by chance."""
        rows = self.sql(statement, *values)
        assert rows, statement
        return self.chance.choice(rows)

    def head(self) -> int:
        """The last position of the log."""
        return int(self.one("SELECT max(notification_id) AS n FROM keyledger_events")["n"])

    def event(self, condition: str = "true", *values: object) -> Row:
        """Some event."""
        return self.one(f"SELECT * FROM keyledger_events WHERE {condition}", *values)

    def last_of(self, stream: object) -> Row:
        """The newest event of a stream."""
        newest = "SELECT * FROM keyledger_events WHERE originator_id = %s ORDER BY originator_version DESC LIMIT 1"
        return self.one(newest, stream)

    def live(self) -> Row:
        """Some row of `current_credentials` that is not deleted."""
        return self.one("SELECT * FROM current_credentials WHERE token IS NOT NULL")

    def example(self, topic: str) -> dict[str, Any]:
        """The members of some event of a topic, under another name and about another request."""
        members = members_of(self.event("topic = %s", topic))
        return {**members, "command_id": self.name(), "request_id": "req-1", "timestamp": time_text(0)} | (
            {"actor": ALICE} if "actor" in members else {}
        )

    def name(self) -> str:
        """A new id for a command."""
        return str(UUID(int=self.chance.getrandbits(128), version=4))

    def add(
        self, topic: str, members: dict[str, Any], stream: object, version: int, position: int | None = None
    ) -> int:
        """Insert an event; return its position. Its code is missing, made up, or that of another event."""
        position = self.head() + 1 if position is None else position
        values: Row = {
            "originator_id": stream,
            "originator_version": version,
            "topic": topic,
            "state": canonical(members),
            "notification_id": position,
        }
        self.insert("keyledger_events", values | self.code(stream))
        return position

    def code(self, stream: object) -> Row:
        """A code for a new event: none, that of another event, or one that is made up."""
        copied = self.last_of(stream) if self.has(stream) else self.event()
        code = {name: copied[name] for name in ("code_key_id", "code")}
        made_up = {**code, "code": self.chance.randbytes(32)}
        return self.chance.choice([code, made_up, dict.fromkeys(code)])

    def has(self, stream: object) -> bool:
        """Whether a stream has an event."""
        return bool(self.sql("SELECT 1 FROM keyledger_events WHERE originator_id = %s", stream))

    def append(self, topic: str, members: dict[str, Any], stream: object, version: int, row: Row | None = None) -> int:
        """Append an event with the service's own function; return its position."""
        names = self.one(
            "SELECT proargnames, proargtypes::regtype[]::text[] AS types FROM pg_proc WHERE oid = (%s)::regproc",
            "keyledger_append",
        )
        given: Row = {"streams": [stream], "versions": [version], "topics": [topic], "states": [canonical(members)]}
        given["view_rows"] = json.dumps([row] if row else [], default=str)
        code = self.code(stream)
        given |= {"code_key_id": code["code_key_id"], "codes": [code["code"]]}
        given |= {"earliest": members["timestamp"], "node_time": time_text(0)}
        arguments = [f"{name} => %s::{kind}" for name, kind in zip(names["proargnames"], names["types"], strict=False)]
        values = [
            given.get(name, [None] if kind.endswith("[]") else None)
            for name, kind in zip(names["proargnames"], names["types"], strict=False)
        ]
        self.sql(f"SELECT keyledger_append({', '.join(arguments)})", *values)
        return self.head()

    def insert(self, table: str, values: Row) -> None:
        """Insert a row."""
        columns, marks = ", ".join(values), ", ".join(["%s"] * len(values))
        self.sql(f"INSERT INTO {table} ({columns}) VALUES ({marks})", *values.values())

    def columns(self, table: str) -> Sequence[str]:
        """The names of a table's columns, in order."""
        rows = self.sql(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
            " ORDER BY attnum",
            table,
        )
        return [row["attname"] for row in rows]

    def change(self, row: Row, **members: object) -> int:
        """Change members of an event; return its position."""
        state = canonical({**members_of(row), **members})
        position = row["notification_id"]
        self.sql("UPDATE keyledger_events SET state = %s WHERE notification_id = %s", state, position)
        return int(position)

    def show_deleted(self, row: Row, version: int) -> None:
        """Make the row of a credential say that it is deleted."""
        self.sql(
            "UPDATE current_credentials SET version = %s, token = NULL, binding = NULL, key_id = NULL,"
            " masked_key = NULL, endpoint = NULL, api_version = NULL, deployment_name = NULL, set_at = NULL"
            " WHERE tenant_id = %s AND provider = %s",
            version,
            row["tenant_id"],
            row["provider"],
        )

    def close_gap(self, position: int) -> None:
        """Move the events after a position back by one. In two steps: positions are unique at every moment."""
        shift = "UPDATE keyledger_events SET notification_id = notification_id + %s WHERE notification_id > %s"
        self.sql(shift, FAR - 1, position)
        self.sql(shift, -FAR, FAR)

    def compute_again(self) -> None:
        """Have the audit trail and the tree computed again from the log as it is now."""
        for table in ("audit_trail", "transparency_log"):  # TRUNCATE would deadlock with a service that reads both
            self.sql(f"DELETE FROM {table}")
        self.sql("UPDATE projection_positions SET position = 0")


def members_of(row: Row) -> dict[str, Any]:
    """The stored members of an event."""
    members: dict[str, Any] = json.loads(bytes(row["state"]))
    return members


def canonical(members: dict[str, Any]) -> bytes:
    """The stored form of an event's members."""
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def time_text(hours: int) -> str:
    """A time some hours from now."""
    return (utc_now() + timedelta(hours=hours)).isoformat(timespec="microseconds")


def place_of(row: Row) -> Place:
    """The tenant and the provider of a row."""
    return str(row["tenant_id"]), str(row["provider"])


__all__ = ["ALICE", "Access", "By", "Forger", "canonical", "members_of", "place_of", "record_stream", "stream_id"]
