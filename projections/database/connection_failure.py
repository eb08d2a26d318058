"""Finds out why the database cannot be reached, without the texts of the driver, the server or the pooler.

Promises: those texts are neither shown nor parsed, since they quote values and are in the server's language. The cause
comes from the error code and the routine of the server that raised it, which libpq traces while it connects (PQtrace),
and from the system's answers about name and port.
Limits: libpq traces them on Linux only; elsewhere every failure that the server reports is `REFUSED_BY_SERVER`.
Standards: PostgreSQL's error codes, and the fields C and R of its message ErrorResponse.
"""

import os
import re
import select
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq.abc import PGconn

PATIENCE_S = 3.0
_CODE = re.compile(rb'ErrorResponse\t S "[^"]*"(?: V "[A-Z]+")? C "([0-9A-Z]{5})"')
_ROUTINE = re.compile(rb' R "(\w+)" \\x00')
_LET_IN = (b"AuthenticationOk", b"AuthenticationSASLFinal")
_TLS_DEMANDED = frozenset({"require", "verify-ca", "verify-full"})


class Failure(StrEnum):
    """Why a client cannot reach its database."""

    NAME_UNKNOWN = "name-unknown"
    NOTHING_LISTENS = "nothing-listens"
    NO_ANSWER = "no-answer"
    PASSWORD = "password"  # noqa: S105  the name of a cause, not a password
    PASSWORD_MISSING = "password-missing"  # noqa: S105
    ROLE_UNKNOWN = "role-unknown"
    DATABASE_UNKNOWN = "database-unknown"
    ADDRESS_REFUSED = "address-refused"
    TLS_REQUIRED = "tls-required"
    TLS_FAILED = "tls-failed"
    TOO_MANY_CONNECTIONS = "too-many-connections"
    STARTING_OR_STOPPING = "starting-or-stopping"
    RIGHT_TO_CONNECT = "right-to-connect"
    OPTIONS = "options"
    POOLER = "pooler"
    READ_ONLY = "read-only"
    REFUSED_BY_SERVER = "refused-by-server"


_BY_CODE = {
    "28P01": Failure.PASSWORD,
    "3D000": Failure.DATABASE_UNKNOWN,
    "53300": Failure.TOO_MANY_CONNECTIONS,
    "57P03": Failure.STARTING_OR_STOPPING,
    "57P01": Failure.STARTING_OR_STOPPING,
    "42501": Failure.RIGHT_TO_CONNECT,
    "08P01": Failure.POOLER,
}


@dataclass(frozen=True, slots=True)
class _Attempt:
    """The progress of one attempt to connect."""

    connected: bool
    in_time: bool
    ready: bool
    needs_password: bool
    password_refused: bool
    code: str = ""
    routine: str = ""


def failure_of(dsn: str) -> Failure | None:
    """Try to connect, and return why that fails; None if it succeeds. dsn: a libpq URL or parameter list."""
    tried = _attempt(dsn)
    if tried.connected:
        return None
    parts = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    if tried.code:
        return _said_by_server(tried, dsn, parts)
    if tried.needs_password:
        return Failure.PASSWORD_MISSING
    if tried.ready:
        return Failure.READ_ONLY  # the only demand on a server that accepted the connection
    if (unreachable := _unreachable(parts)) is not None:
        return unreachable
    if not tried.in_time:
        return Failure.NO_ANSWER
    return Failure.TLS_FAILED if parts.get("sslmode") in _TLS_DEMANDED else Failure.REFUSED_BY_SERVER


def _said_by_server(tried: _Attempt, dsn: str, parts: Mapping[str, str]) -> Failure:
    if tried.code == "28000":
        if tried.routine != "ClientAuthentication":
            return Failure.ROLE_UNKNOWN
        encrypted = make_conninfo(dsn, sslmode="require")
        return Failure.TLS_REQUIRED if _goes_further(encrypted) else Failure.ADDRESS_REFUSED
    failure = _BY_CODE.get(tried.code, Failure.REFUSED_BY_SERVER)
    if failure is not Failure.POOLER:
        return failure
    return Failure.OPTIONS if "options" in parts else Failure.PASSWORD if tried.password_refused else failure


def _goes_further(dsn: str) -> bool:
    """Say whether the server accepts the address over TLS, whatever it answers afterwards."""
    tried = _attempt(dsn)
    return tried.connected or tried.ready or tried.needs_password or tried.code not in {"", "28000"}


def _attempt(dsn: str) -> _Attempt:
    """Connect once, step by step, with libpq's trace in memory that no other process can open."""
    connection = pq.PGconn.connect_start(dsn.encode())
    try:
        with _Notes(connection) as notes:
            in_time = _poll(connection)
            connected = connection.status == pq.ConnStatus.OK
            noted = notes.read()
        codes, routines = _CODE.findall(noted), _ROUTINE.findall(noted)
        return _Attempt(
            connected,
            in_time,
            b"ReadyForQuery" in noted,
            connection.needs_password,
            connection.used_password and not any(word in noted for word in _LET_IN),
            codes[-1].decode() if codes else "",
            routines[-1].decode() if codes and routines else "",
        )
    finally:
        connection.finish()


def _poll(connection: PGconn) -> bool:
    """Let libpq connect. Return False if it did not finish in time."""
    deadline = time.monotonic() + PATIENCE_S
    if connection.status == pq.ConnStatus.BAD:
        return True
    state = pq.PollingStatus.WRITING
    while state not in {pq.PollingStatus.OK, pq.PollingStatus.FAILED}:
        left = max(0.0, deadline - time.monotonic())
        reading = [connection.socket] if state == pq.PollingStatus.READING else []
        writing = [connection.socket] if state == pq.PollingStatus.WRITING else []
        if not any(select.select(reading, writing, [], left)):
            return False
        state = pq.PollingStatus(connection.connect_poll())
    return True


class _Notes:
    """The libpq trace of one attempt."""

    def __init__(self, connection: PGconn) -> None:
        self._connection = connection
        self._file: int | None = None

    def __enter__(self) -> "_Notes":
        if hasattr(os, "memfd_create") and self._connection.status != pq.ConnStatus.BAD:
            self._file = os.memfd_create("connecting")
            try:
                self._connection.trace(self._file)
                self._connection.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
            except psycopg.NotSupportedError:
                self._close()
        return self

    def read(self) -> bytes:
        if self._file is None:
            return b""
        self._connection.untrace()
        return os.pread(self._file, os.fstat(self._file).st_size, 0)

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _unreachable(parts: Mapping[str, str]) -> Failure | None:
    """Return why no named host can be reached; None if one of them accepts a connection."""
    hosts = (parts.get("hostaddr") or parts.get("host") or "").split(",")
    ports = (parts.get("port") or "5432").split(",")
    found = [_knock(host, ports[nth] if len(ports) > 1 else ports[0]) for nth, host in enumerate(hosts)]
    return None if None in found else found[-1]


def _knock(host: str, port: str) -> Failure | None:
    try:
        if host.startswith("/") or not host:
            with socket.socket(socket.AF_UNIX) as knocking:
                knocking.settimeout(PATIENCE_S)
                knocking.connect(f"{host or '/var/run/postgresql'}/.s.PGSQL.{port}")
        else:
            with socket.create_connection((host, int(port)), PATIENCE_S):
                pass
    except socket.gaierror:
        return Failure.NAME_UNKNOWN
    except TimeoutError:
        return Failure.NO_ANSWER
    except (OSError, ValueError):
        return Failure.NOTHING_LISTENS
    return None
