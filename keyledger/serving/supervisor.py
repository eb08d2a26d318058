"""The parent of the processes that serve one port: it forks them, and another one in the place of each that ends.

Promises: it opens no database and starts no thread, so what it forks shares its memory and nothing else. The first
process serves at once; where LiteLLM is needed, this process loads it meanwhile, forks the processes that stay, which
share its memory, and then has the first one retire. An error of the first process ends the start, with its exit code.
A process that ends later, or whose event loop has not run for `SILENT_S` while this process ran, is replaced: at once,
or after a pause that grows to `LONGEST_PAUSE_S` while its successors end soon, or the system cannot fork. SIGTERM and
Ctrl-C end all of them in order, a second Ctrl-C at once; SIGHUP reaches all. None outlives this process, however it
ends.
"""

import gc
import logging
import math
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from keyledger.serving.children import Child, fork, reaped
from keyledger.serving.signals import hear_hangups
from keyledger.serving.worker_slots import WorkerSlots
from keyledger.start_error import StartError

SILENT_S = 30.0
LONGEST_PAUSE_S = 10.0

_TICK_S = 1.0
_STOOD_STILL_S = 5.0  # a longer time between two looks means that this process was stopped, perhaps with all others
_ALL_SERVE_S = 60.0  # after the loading; then the early process need not wait for those that do not serve
_SETTLED_S = 10.0  # a process that ended sooner after it began is followed by a pause
_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_log = logging.getLogger("keyledger.workers")

Serve = Callable[[int, bool, int, int], None]
"""Serves in a forked process, given its slot, whether it is the early one, and two descriptors: one gets a line with
the number of connections that the database admits once it serves, one is closed at its other end with the parent."""


class Supervisor:
    """Forks and watches the processes."""

    def __init__(
        self,
        serve: Serve,
        slots: WorkerSlots,
        *,
        ending: Callable[[Exception], int],
        workers: Callable[[int], int],
        load: Callable[[], None] | None,
        serving: Callable[[int], None],
    ) -> None:
        """slots: one more than there may be workers. ending: says why an exception ends a forked process, and returns
        its exit code. workers: how many there are to be, given how many connections the database admits. load: loads
        LiteLLM; None where no model needs it. serving: called with their number, once the first one serves.
        """
        self._serve = serve
        self._slots = slots
        self._ending = ending
        self._workers = workers
        self._load = load
        self._serving = serving
        self._children: list[Child] = []
        self._places = range(0)
        self._asked: list[int] = []
        self._interrupts = False
        self._next_fork = 0.0
        self._pause = 0.0
        self._retires_by = math.inf
        self._looked, self._runs_since = math.inf, 0.0

    def run(self) -> None:
        """Serve until a signal asks for the end; return after SIGTERM.

        Raises KeyboardInterrupt after Ctrl-C, StartError and SystemExit where the first process does not serve.
        """
        self._lifeline, lifeline_end = os.pipe()
        self._wake, wake_end = os.pipe()
        for end in (self._wake, wake_end):
            os.set_blocking(end, False)
        try:
            with self._signals(wake_end):
                try:
                    self._run()
                finally:
                    self._end_all()
        finally:
            for number in (self._lifeline, lifeline_end, self._wake, wake_end):
                os.close(number)
        if signal.SIGINT in self._asked:
            raise KeyboardInterrupt

    def _run(self) -> None:
        _freeze()
        first = self._fork(0, early=self._load is not None)
        while first.ready is not None:
            self._wait()
            if self._asked:
                return
        count = self._workers(first.said)
        self._places = range(1, count + 1) if first.early else range(count)
        self._serving(count)
        self._preload()
        self._retires_by = time.monotonic() + _ALL_SERVE_S
        while not self._asked:
            self._fill()
            self._wait()
            self._retire_early()
            self._end_silent()

    def _preload(self) -> None:
        if self._load is None or self._asked:
            return
        self._interrupts = True
        try:
            self._load()
        except SystemExit:  # from `_hear`
            return
        except Exception as error:  # noqa: BLE001  a broken installation can raise anything, and its text hold anything
            _log.error("LiteLLM did not load: %s; each process tries again", type(error).__name__)
        finally:
            self._interrupts = False
        if threading.active_count() > 1:
            _log.warning("a library started a thread in the process that others are forked from")
        _freeze()

    def _fill(self) -> None:
        """Fork the processes that are missing, unless there is a pause."""
        if time.monotonic() >= self._next_fork:
            taken = {child.slot for child in self._children}
            try:
                for slot in self._places:
                    if slot not in taken:
                        self._fork(slot)
            except OSError as error:
                _log.error("no process could be forked: %s; this is tried again", error.strerror)
                self._pause_before_next()

    def _fork(self, slot: int, *, early: bool = False) -> Child:
        pid, ready = fork(lambda started: self._serve(slot, early, started, self._lifeline), self._ending)
        child = Child(pid, slot, early, time.monotonic(), ready)
        self._children.append(child)
        return child

    def _wait(self) -> None:
        """Wait for a signal or a process that serves, at most for a tick; then look at all."""
        ready = [child.ready for child in self._children if child.ready is not None]
        select.select([self._wake, *ready], [], [], _TICK_S)
        with suppress(BlockingIOError):
            os.read(self._wake, 4096)
        for child in self._children:
            child.look()
        for pid, code in reaped():
            self._ended(pid, code)

    def _ended(self, pid: int, code: int) -> None:
        child = next((one for one in self._children if one.pid == pid), None)
        if child is None:
            return
        self._children.remove(child)
        self._slots.ended(child.slot)
        served = child.ready is None
        child.forget()
        if self._asked or child.retires:
            return
        if not self._places:
            if code > 0:
                raise SystemExit(code)
            raise StartError(f"the first process ended before it served, by signal {-code}")
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        _log.warning("process %d of this service ended %s; another one is started", pid, how)
        soon = not served or time.monotonic() - child.began < _SETTLED_S
        if soon:
            self._pause_before_next()
        else:
            self._next_fork = self._pause = 0.0

    def _pause_before_next(self) -> None:
        self._next_fork = time.monotonic() + self._pause
        self._pause = min(max(1.0, 2 * self._pause), LONGEST_PAUSE_S)

    def _retire_early(self) -> None:
        """Have the early process retire as soon as all others serve, or one does and the rest take too long.

        Calls that need LiteLLM wait in it until then.
        """
        serving = [child for child in self._children if child.slot in self._places and child.ready is None]
        if not serving or (len(serving) < len(self._places) and time.monotonic() < self._retires_by):
            return
        for child in self._children:
            if child.early and not child.retires:
                child.retires = True
                child.send(signal.SIGUSR1)

    def _end_silent(self) -> None:
        """Kill each process that was silent for too long, not counting what passed before this one ran again."""
        now = time.monotonic()
        if now - self._looked > _STOOD_STILL_S:
            self._runs_since = now
        self._looked = now
        for child in self._children:
            beat = self._slots.last_beat(child.slot)
            if beat and now - max(beat, self._runs_since) > SILENT_S:
                _log.error("process %d of this service has not answered for %.0f s and is ended", child.pid, SILENT_S)
                child.send(signal.SIGKILL)

    def _end_all(self) -> None:
        for child in self._children:
            child.send(signal.SIGTERM)
        while self._children:
            self._asked = self._asked or [signal.SIGTERM]
            if self._asked.count(signal.SIGINT) > 1:
                for child in self._children:
                    child.send(signal.SIGKILL)
            self._wait()

    @contextmanager
    def _signals(self, wake_end: int) -> Iterator[None]:
        before = {number: signal.signal(number, self._hear) for number in _HEARD}
        woken = signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        hear_hangups()
        try:
            yield
        finally:
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            for child in self._children:
                child.send(signal.SIGHUP)
        elif number != signal.SIGCHLD:
            self._asked.append(number)
            if self._interrupts:
                self._interrupts = False
                raise SystemExit  # loading takes seconds


def _freeze() -> None:
    """Exempt what is loaded from garbage collection, which would write to each page that processes share."""
    gc.collect()
    gc.freeze()
