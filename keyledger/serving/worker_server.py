"""The HTTP server of a worker: it beats once a second, and it can retire.

Promises: a worker that retires takes no new connection and ends none that is in use: each answer says
`Connection: close`, unused connections time out as ever, and calls under way last as long as they will. Ctrl-C in front
of all processes is left to the parent process.
"""

import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

_TICKS_A_SECOND = 10
_LAST_ANSWER = (b"connection", b"close")


class WorkerServer(uvicorn.Server):
    """Serves until SIGTERM, or until it has retired and no connection is left."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        started: Callable[[], None],
        beat: Callable[[], None],
        retired: Callable[[], None],
    ) -> None:
        """started: called once it serves. beat: called on the event loop, each second. retired: when that begins."""
        super().__init__(config)
        self._tell_started = started
        self._beat = beat
        self._tell_retired = retired
        self._asked_to_retire = False
        self._retires = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        signal.signal(signal.SIGUSR1, self._ask_to_retire)
        self._beat()
        self._tell_started()

    async def on_tick(self, counter: int) -> bool:
        """Beat; return whether it is time to end."""
        ends = await super().on_tick(counter)
        if counter % _TICKS_A_SECOND == 0:
            self._beat()
        if self._asked_to_retire and not self._retires:
            self._retires = True
            for server in self.servers:
                server.close()
            self._tell_retired()
        if not self._retires:
            return ends
        if _LAST_ANSWER not in self.server_state.default_headers:
            self.server_state.default_headers = [*self.server_state.default_headers, _LAST_ANSWER]
        return ends or not self.server_state.connections

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End on SIGTERM."""
        if sig != signal.SIGINT:
            super().handle_exit(sig, frame)

    def _ask_to_retire(self, _signal: int, _frame: FrameType | None) -> None:
        self._asked_to_retire = True
