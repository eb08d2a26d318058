"""One of several processes that serve one port: it never outlives its parent, and it keeps the embedded server alive.

Promises: when the parent is gone, however it ended, this process stops in order, as on SIGTERM. While it serves, it
counts as a user of the embedded PostgreSQL: no other process stops the server, and the last user to leave does. SIGHUP
to the parent makes every process reload its settings, each as a whole or not at all; none is restarted for it.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uvicorn.supervisors import Multiprocess

from keyledger.process_memory import protect
from keyledger.serving.fair_process import be_fair
from keyledger.serving.garbage_collection import collect_rarely
from keyledger.serving.signals import hangups_held, hear_hangups, on_hangup
from keyledger.settings.start_environment import StartEnvironment

Application = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Worker:
    """Makes the application inside a worker process; it is pickled on the way there, through a pipe.

    environment: that of the parent, with the secrets, which the worker's own environment does not have. data_dir: of
    the embedded server in use; None where the operator named another server.
    """

    environment: StartEnvironment
    data_dir: Path | None

    def __call__(self) -> Application:
        """Return the application. Raises as `keyledger.assembly.compose.service_from_environment` does."""
        protect()
        end_with_parent()
        from keyledger.assembly.compose import service_from_environment

        collect_rarely()
        be_fair()

        with ExitStack() as opened:
            if self.data_dir is not None:
                _hold_embedded_server(self.data_dir, opened)
            service = service_from_environment(self.environment, Path(".env"), supervisor=_hang_up_parent)
            opened.callback(service.close)
            opened.enter_context(on_hangup(service.reloader.reload_or_log))
            return _closing(service.app, opened.pop_all())


class Workers(Multiprocess):
    """The processes that serve one port, watched by this one."""

    def init_processes(self) -> None:
        """Start them. SIGHUP does not end one that is still starting: it reloads as soon as it has started."""
        with hangups_held():
            super().init_processes()
        hear_hangups()

    def keep_subprocess_alive(self) -> None:
        """Start another in the place of one that ended, in the same way."""
        with hangups_held():
            super().keep_subprocess_alive()

    def handle_hup(self) -> None:
        """Pass SIGHUP on. The server's default, to restart every process, would end calls under way."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                if process.pid is not None:
                    os.kill(process.pid, signal.SIGHUP)


def _hang_up_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        os.kill(parent.pid, signal.SIGHUP)


def end_with_parent() -> None:
    """Send SIGTERM to this process as soon as its parent process is gone, or now if it already is.

    A worker is started with the reading end of a pipe whose other end only the parent holds: the kernel closes that end
    with the parent, whatever ended it.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()


def _hold_embedded_server(data_dir: Path, resources: ExitStack) -> None:
    """Become a user of the server. It may have ended together with the worker that this one replaces."""
    from keyledger.embedded_postgres import join

    server = join(data_dir)
    resources.callback(server.leave)
    server.revive(wait=True)


def _closing(app: Application, resources: ExitStack) -> Application:
    """Return an application that closes `resources` when its lifespan ends. None of our code runs after that: the
    server then ends the process by the signal that it got."""

    async def closing(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        with resources:
            await app(scope, receive, send)

    return closing
