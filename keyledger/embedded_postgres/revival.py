"""Starts a server again that ended although its users still need it.

Promises: nothing is created; a server is never doubled. That it has ended is concluded only where its process would be
seen: a process in another container may share the folder, and PostgreSQL's own lock does not reach across containers.
"""

from enum import Enum, auto
from pathlib import Path

from psycopg import pq

from domain.errors import StoreUnavailableError
from keyledger.embedded_postgres import cluster, postmaster
from keyledger.embedded_postgres.binaries import programs_for
from keyledger.embedded_postgres.users import Wanted, wanted

_PATIENCE_S = 5.0  # a service that is ending waits for it
_ELSEWHERE = "it was started on another machine or in another container"


class Revival(Enum):
    """The result of an attempt to start the server again. BUSY: another process is starting or stopping it."""

    RUNNING = auto()
    STARTED = auto()
    STOPPED_ON_PURPOSE = auto()
    BUSY = auto()


def revive(folder: Path, socket_folder: Path) -> Revival:
    """Start the server of a cluster again if it has ended and was not stopped on purpose.

    Call it under the start lock. Raises StoreUnavailableError if it does not start.
    """
    if not folder.exists():
        raise StoreUnavailableError(
            f"the folder {folder} is gone: restore a backup, then restart the service", brief="its folder is gone"
        )
    if postmaster.find(folder) is not None or cluster.ping(socket_folder) in {pq.Ping.OK, pq.Ping.REJECT}:
        return Revival.RUNNING
    if wanted(folder.parent) is Wanted.STOPPED:
        return Revival.STOPPED_ON_PURPOSE
    if not postmaster.was_started_here(folder):
        raise StoreUnavailableError(
            f"{_ELSEWHERE}, where it may still run: restart the service there, or this one if the other is gone",
            brief=_ELSEWHERE,
        )
    programs = programs_for(folder)
    cluster.require_version(folder, programs)
    cluster.launch(folder, socket_folder, programs, durable=True, patience=_PATIENCE_S)
    return Revival.STARTED
