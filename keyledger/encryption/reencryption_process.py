"""Sealing in a process of its own, so that a service which rotates goes on answering.

Promises: the calls of tenants do not wait for the interpreter that seals, and the system prefers them to it. Opening
and sealing happen in the same process; what comes back is counts, and the places and reasons of what could not be
opened. Keys and the database's address reach it through a pipe, never on its command line, in its environment or in a
file. Each batch waits for a word from whoever asked, so a process that nobody waits for ends after its batch; Ctrl-C
reaches only the one that asked. A process that is lost, or silent for `PATIENCE_S`, ends the rotation with
`ProcessError`; what was sealed until then is in the log, and the next rotation goes on from there.
"""

import json
import logging
import multiprocessing
import os
import signal
from collections.abc import Generator, Sequence
from dataclasses import asdict, astuple
from multiprocessing import ProcessError
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from domain.credentials.secret import Secret
from domain.errors import ErrorCode, StoreUnavailableError
from domain.event import CommandMeta, utc_now
from domain.operations.encryption_keys import RotationCounts
from domain.operations.rotation import Unopened
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.reencryption import LocalSealing, Sealed
from keyledger.log.event_store import CredentialLog
from projections.database.connections import open_pool

GIVES_WAY = 10
"""How much lower than its service the process stands with the scheduler, as in `nice`."""
REST = 1.0
"""Half of the time is left to others."""
PATIENCE_S = 60
"""Seconds without a word after which the process is given up: far longer than a batch beside any load."""
_GO_ON = b"go on"


class ReencryptionProcess:
    """Seals in a process of its own for as long as one rotation takes. Implements `Sealing`."""

    def __init__(self, dsn: str, primary: Secret, previous: Sequence[Secret], rest: float = REST) -> None:
        """dsn: a libpq URL or parameter list. rest: as in `LocalSealing`."""
        self._dsn = dsn
        self._keys = (primary, *previous)
        self._rest = rest

    def __call__(self, meta: CommandMeta) -> Generator[Sealed, None, None]:
        """Seal until nothing moves. Raises StoreUnavailableError, ProcessError."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), name="sealing", daemon=True)
        with ours:
            with theirs:
                process.start()
            try:
                _send(ours, self._order(meta))
                while (told := _received(ours)) is not None:
                    yield told
                    _send(ours, _GO_ON)
            except (EOFError, OSError):
                raise ProcessError("it ended without a word") from None
            finally:
                ours.close()
                _end(process)

    def _order(self, meta: CommandMeta) -> bytes:
        order = {
            "dsn": self._dsn,
            "keys": [key.reveal() for key in self._keys],
            "meta": asdict(meta),
            "rest": self._rest,
        }
        return json.dumps(order).encode()


def _end(process: SpawnProcess) -> None:
    process.join(PATIENCE_S)
    process.kill()
    process.join()
    process.close()


def _send(connection: Connection, message: bytes) -> None:
    connection.send_bytes(message)


def _received(connection: Connection) -> Sealed | None:
    """Return what a batch came to, None at the end. Raises EOFError, OSError, and what the process met with."""
    if not connection.poll(PATIENCE_S):
        raise EOFError
    message = json.loads(connection.recv_bytes())
    if message["fault"] == ErrorCode.STORE_UNAVAILABLE:
        raise StoreUnavailableError
    if message["fault"]:
        raise ProcessError(message["fault"])
    if message["ended"]:
        return None
    unopened = tuple(Unopened(*one) for one in message["unopened"])
    return Sealed(RotationCounts(*message["counts"]), unopened, message["again"])


def _tell(connection: Connection, done: Sealed | None = None, *, fault: str = "", ended: bool = False) -> None:
    done = done or Sealed()
    message = {
        "counts": astuple(done.counts),
        "unopened": [astuple(one) for one in done.unopened],
        "again": done.again,
        "fault": fault,
        "ended": ended,
    }
    _send(connection, json.dumps(message).encode())


def _serve(asked_by: Connection) -> None:
    """Carry out one order. What runs in the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable()  # whoever asked tells what happened, in the form its log has
    os.nice(GIVES_WAY)
    try:
        _carry_out(asked_by)
    except (EOFError, OSError):
        return  # nobody waits any more
    except StoreUnavailableError as fault:
        _tell(asked_by, fault=fault.code)
    except Exception as fault:  # noqa: BLE001  its text may hold anything, so only its type is told
        _tell(asked_by, fault=type(fault).__name__)


def _carry_out(asked_by: Connection) -> None:
    order = json.loads(asked_by.recv_bytes())
    primary, *previous = map(Secret, order["keys"])
    pool = open_pool(order["dsn"])
    try:
        sealing = LocalSealing(pool, CredentialLog(pool), Keyring(primary, previous), utc_now, order["rest"])
        for done in sealing(CommandMeta(**order["meta"])):
            _tell(asked_by, done)
            asked_by.recv_bytes()
        _tell(asked_by, ended=True)
    finally:
        pool.close()
