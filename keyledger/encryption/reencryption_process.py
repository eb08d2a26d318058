"""Re-encrypts in a process of its own, so that a service stays responsive during a rotation.

Promises: tenants' calls do not wait for the interpreter that re-encrypts, and the system prefers them to it. Opening
and sealing happen in the same process; it returns only counts, and the places and reasons of what could not be opened.
Keys and the database's address reach it through a pipe, never on its command line, in its environment or in a file.
After each batch it waits for its parent to confirm, so it ends after its batch if the parent is gone; Ctrl-C reaches
only the parent. A process that dies, or is silent for `PATIENCE_S`, ends the rotation with `ProcessError`; what was
re-encrypted until then is in the log, and the next rotation continues from there.
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
from domain.events.event import CommandMeta, utc_now
from domain.operations.encryption_keys import RotationCounts
from domain.operations.rotation import Unopened
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.personal_keys import PersonalKeys
from keyledger.encryption.personal_members import PersonalSealer
from keyledger.encryption.reencryption import GENTLE, LocalReencryption, Pace, Sealed
from keyledger.encryption.secret_keeping import SecretKeeper, SecretKeys
from keyledger.log.event_codes.attestation import read_codes
from keyledger.log.event_store import CredentialLog
from keyledger.process_memory import protect
from projections.database.pools import open_pool

GIVES_WAY = 10
"""How much lower the scheduling priority of the process is than that of its service, as in `nice`."""
PATIENCE_S = 60
"""Seconds without a message after which the process is abandoned: far more than a batch takes under any load."""
_GO_ON = b"go on"


class ReencryptionProcess:
    """Re-encrypts in a process of its own, one for each rotation. Implements `Reencryption`."""

    def __init__(self, dsn: str, primary: Secret, previous: Sequence[Secret], pace: Pace = GENTLE) -> None:
        """dsn: a libpq URL or parameter list."""
        self._dsn = dsn
        self._keys = (primary, *previous)
        self._pace = pace

    def __call__(self, meta: CommandMeta) -> Generator[Sealed, None, None]:
        """Re-encrypt until a pass changes nothing. Raises StoreUnavailableError, ProcessError."""
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
                raise ProcessError("the re-encryption process ended unexpectedly") from None
            finally:
                ours.close()
                _end(process)

    def _order(self, meta: CommandMeta) -> bytes:
        order = {
            "dsn": self._dsn,
            "keys": [key.reveal() for key in self._keys],
            "meta": asdict(meta),
            "pace": self._pace,
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
    """Return the result of a batch, None at the end. Raises EOFError, OSError, and the error of the process."""
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


def _tell(connection: Connection, done: Sealed | None = None, *, error: str = "", ended: bool = False) -> None:
    done = done or Sealed()
    message = {
        "counts": astuple(done.counts),
        "unopened": [astuple(one) for one in done.unopened],
        "again": done.again,
        "fault": error,
        "ended": ended,
    }
    _send(connection, json.dumps(message).encode())


def _serve(asked_by: Connection) -> None:
    """Carry out one order. The main function of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    protect()
    logging.disable()  # the parent logs what happened, in its own format
    os.nice(GIVES_WAY)
    try:
        _carry_out(asked_by)
    except (EOFError, OSError):
        return  # the parent is gone
    except StoreUnavailableError as error:
        _tell(asked_by, error=error.code)
    except Exception as error:  # noqa: BLE001  its text may hold anything, so only its type is sent
        _tell(asked_by, error=type(error).__name__)


def _carry_out(asked_by: Connection) -> None:
    order = json.loads(asked_by.recv_bytes())
    primary, *previous = map(Secret, order["keys"])
    pool = open_pool(order["dsn"])
    try:
        secret = SecretKeeper(pool, SecretKeys.of((primary, *previous), None))
        ring = Keyring(primary, previous, lambda key: secret().fingerprint(key))
        log = CredentialLog(pool, PersonalSealer(PersonalKeys(pool, secret)), read_codes(pool, ring.code_keys))
        sealing = LocalReencryption(pool, log, ring, utc_now, Pace(*order["pace"]), codes=lambda: log.codes)
        for done in sealing(CommandMeta(**order["meta"])):
            _tell(asked_by, done)
            asked_by.recv_bytes()
        _tell(asked_by, ended=True)
    finally:
        pool.close()
