"""Starts the embedded server again when it has ended, for as long as a service uses it.

Promises: a server that was killed, crashed, or ended on a full disk is noticed within a second and started again. Of
several services that share it exactly one starts it, under the start lock, which is never waited for. While it cannot
be started, attempts continue with pauses that grow to `LONGEST_PAUSE_S`. A server that an operator stopped stays
stopped, and one that may still run on another machine or in another container is left alone. Each change of state is
one line of the log; an attempt is not. A start in progress delays the end of the service by a few seconds at most.
A server that lives but can never serve again, because its recovery from a crash failed, is ended first.
Limits: any other server whose process lives is not touched, whether it answers or not. Without a running service no
process supervises the server.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from psycopg import pq

from domain.errors import StoreUnavailableError
from keyledger.embedded_postgres.cluster import RECOVERING
from keyledger.embedded_postgres.revival import Revival
from keyledger.embedded_postgres.server import EmbeddedPostgres, join

TICK_S = 0.5
"""Seconds between two looks at the server."""

LONGEST_PAUSE_S = 10.0
"""Seconds between two attempts to start it that failed."""

_SETTLED_S = 60.0  # a server that ended sooner after it was started again counts as an attempt that failed
_ASKED_EVERY_S = 5.0  # a look sees the process only; an answer costs the server a process
_HOPELESS_S = 10.0  # how long a server may seem unable to serve: between a crash and its recovery it does
_COUNTED = 10  # attempts; the pause has long stopped growing
_UNKNOWN = "it does not start"
_STOPPED = "it was stopped with `keyledger database stop`"
_ELSEWHERE = "another process is starting or stopping it"
_SILENT = "its process does not answer"
_log = logging.getLogger("keyledger.embedded_postgres")


class Supervision:
    """Looks after the server of one data directory, in a task on the event loop, as one of its users."""

    def __init__(self, data_dir: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: counts seconds."""
        self._data_dir = data_dir
        self._clock = clock
        self._cause = ""
        self._attempts = 0
        self._next_attempt = clock()
        self._settled = clock()
        self._next_question = clock()
        self._hopeless_since: float | None = None
        self._server: EmbeddedPostgres | None = None
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def cause(self) -> str:
        """Why the server does not run, as a sentence without a path; "" if it does."""
        return self._cause and f"the embedded PostgreSQL does not run: {self._cause}"

    async def start(self) -> None:
        """Become a user of the server and start the task. Raises StoreUnavailableError."""
        await asyncio.to_thread(self.begin)
        self._task = asyncio.create_task(self._run(), name="supervision of the embedded server")

    async def stop(self) -> None:
        """End the task after a look in progress, and stop using the server."""
        self._ending.set()
        if self._task is not None:
            await self._task
        await asyncio.to_thread(self.end)

    def begin(self) -> None:
        """Become a user of the server. Raises StoreUnavailableError."""
        self._server = join(self._data_dir)

    def end(self) -> None:
        """Stop using the server. The last of its users stops it."""
        if self._server is not None:
            self._server.leave()

    def look(self) -> None:
        """Look at the server once, and start it again if it has ended and it is time for an attempt."""
        assert self._server is not None  # noqa: S101  `begin` comes first
        try:
            if self._server.is_alive():
                self._look_at_live(self._server)
            elif self._clock() >= self._next_attempt:
                self._revive(self._server)
        except StoreUnavailableError as error:
            self._pause()
            self._note(error.brief or _UNKNOWN, f"{error.detail}; trying again until it does")
        except Exception as error:  # noqa: BLE001  supervision must continue; the text may hold anything
            self._pause()
            self._note(_UNKNOWN, type(error).__name__)

    def _look_at_live(self, server: EmbeddedPostgres) -> None:
        if self._clock() >= self._settled:
            self._attempts = 0
        if self._cause or self._clock() >= self._next_question:
            self._next_question = self._clock() + _ASKED_EVERY_S
            answer = server.answer()
            self._note_answer(answer)
            self._end_hopeless(server, answer)

    def _end_hopeless(self, server: EmbeddedPostgres, answer: pq.Ping) -> None:
        if answer != pq.Ping.REJECT or not server.can_never_serve():
            self._hopeless_since = None
        elif self._hopeless_since is None:
            self._hopeless_since = self._clock()
        elif self._clock() >= self._hopeless_since + _HOPELESS_S and server.end_if_it_can_never_serve():
            _log.warning("the embedded PostgreSQL could not recover after a crash and was ended")

    def _revive(self, server: EmbeddedPostgres) -> None:
        outcome = server.revive()
        if outcome is Revival.STARTED:
            self._pause()
            self._settled = self._clock() + _SETTLED_S
            self._cause = ""
            _log.warning("the embedded PostgreSQL had ended; it was started again and runs")
        elif outcome is Revival.STOPPED_ON_PURPOSE:
            self._note(_STOPPED, "start it with: keyledger database start")
        elif outcome is Revival.BUSY:
            self._cause = self._cause or _ELSEWHERE
        else:
            self._note_answer(server.answer())

    def _pause(self) -> None:
        """Begin the pause after an attempt. The first of a row has no pause before it."""
        self._next_attempt = self._clock() + min(2.0**self._attempts, LONGEST_PAUSE_S)
        self._attempts = min(self._attempts + 1, _COUNTED)

    def _note_answer(self, answer: pq.Ping) -> None:
        if answer == pq.Ping.OK:
            if self._cause:
                _log.warning("the embedded PostgreSQL runs again")
            self._cause = ""
        elif answer == pq.Ping.REJECT:
            self._note(RECOVERING, "wait until it has")
        else:
            self._note(_SILENT, "if that does not pass, end the process")

    def _note(self, cause: str, more: str) -> None:
        """Remember the cause, and log it if it is another one than before."""
        if cause != self._cause:
            self._cause = cause
            _log.error("the embedded PostgreSQL does not run: %s; %s", cause, more)

    async def _run(self) -> None:
        while not self._ending.is_set():
            await asyncio.to_thread(self.look)
            try:
                async with asyncio.timeout(TICK_S):
                    await self._ending.wait()
            except TimeoutError:
                continue
