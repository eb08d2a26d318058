"""One of several processes that serve one port: forked from the parent process, whose loaded modules it shares.

Promises: of the parent process it has only memory and the listening socket: every other file, lock and signal
handler is given up first, and connections, event loop and threads are made here. When the parent is gone, however it
ended, this process stops in order, as on SIGTERM. While it serves, it counts as a user of the embedded PostgreSQL: no
other process stops the server, and the last user to leave does. SIGHUP to the parent makes every process reload its
settings, each as a whole or not at all; none is restarted for it.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from keyledger.assembly.compose import Service, service_from_environment
from keyledger.assembly.service.siblings import Siblings
from keyledger.process_memory import protect
from keyledger.serving.http_server import configuration, started_or_error
from keyledger.serving.signals import on_hangup, orderly_end
from keyledger.serving.worker_server import WorkerServer
from keyledger.serving.worker_slots import WorkerSlots
from keyledger.settings.start_environment import StartEnvironment


@dataclass(frozen=True, slots=True)
class Worker:
    """Serves in a process that was just forked.

    environment: of the parent, with the secrets. data_dir: of the embedded server in use; None where the operator named
    another server. slot: which of `slots` is its own. early: it serves while the parent loads LiteLLM for those after
    it, and leaves that to them. started: descriptor that gets a line once it serves. lifeline: one that the kernel
    closes at its other end with the parent.
    """

    environment: StartEnvironment
    data_dir: Path | None
    listener: socket.socket
    slots: WorkerSlots
    slot: int
    early: bool
    started: int
    lifeline: int

    def serve(self) -> None:
        """Serve until SIGTERM, or until it has retired. Raises as `service_from_environment` does, and StartError."""
        keep = {0, 1, 2, self.listener.fileno(), self.started, self.lifeline, *_of_multiprocessing()}
        _close_all_but(keep)
        protect()
        parent = os.getppid()
        with orderly_end(), ExitStack() as opened:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1})
            _end_with(self.lifeline)
            if self.data_dir is not None:
                _hold_embedded_server(self.data_dir, opened)
            siblings = Siblings(
                reload=lambda: _hang_up(parent),
                reports=lambda: self.slots.others(self.slot),
                share=partial(self.slots.write, self.slot),
                counts=self.slots.counts.of_process(self.slot),
            )
            service = service_from_environment(self.environment, Path(".env"), siblings)
            opened.callback(service.close)
            admitted = service.connections_admitted
            opened.enter_context(on_hangup(service.reloader.reload_or_log))
            self._serve(service, admitted)

    def _serve(self, service: Service, admitted: int) -> None:
        warming, registry = service.models.warming, service.registry
        before = self.slots.read(self.slot)
        registry.continue_from(before.text if before is not None else b"")
        if self.early:
            warming.leave_to_others()

        def beat() -> None:
            self.slots.beat(self.slot, time.monotonic())
            registry.report()

        def started() -> None:
            os.write(self.started, f"{admitted}\n".encode())
            os.close(self.started)

        config = configuration(service.app)
        server = WorkerServer(config, started=started, beat=beat, retired=warming.others_are_loaded)
        with started_or_error(server):
            server.run(sockets=[self.listener])
        registry.report()


def _hang_up(parent: int) -> None:
    if os.getppid() == parent:
        os.kill(parent, signal.SIGHUP)


def _end_with(lifeline: int) -> None:
    """Send SIGTERM to this process as soon as its parent process is gone, or now if it already is."""

    def wait() -> None:
        os.read(lifeline, 1)  # the parent writes nothing
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()


def _close_all_but(kept: Iterable[int]) -> None:
    """Close every other descriptor, such as locks of the parent, which would outlive it in this process."""
    for number in {int(one.name) for one in Path("/dev/fd").iterdir()}.difference(kept):
        with suppress(OSError):  # the one that listed them
            os.close(number)


def _of_multiprocessing() -> Iterable[int]:
    """Yield the descriptor by which the module follows the processes that it starts, if it does so already."""
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    if tracker is not None:
        yield tracker.getfd()


def _hold_embedded_server(data_dir: Path, resources: ExitStack) -> None:
    """Become a user of the server. It may have ended together with the worker that this one replaces."""
    from keyledger.embedded_postgres import join

    server = join(data_dir)
    resources.callback(server.leave)
    server.revive(wait=True)
