"""The HTTP server as every command runs it: one set of limits, our own socket, an orderly end.

Promises: what an unauthenticated client can make it hold is bounded (`bounded_http`). It writes no log line about
requests (the application does, without query strings), names no software and trusts no forwarding header. On SIGTERM
and Ctrl-C running requests end first, then everything around the server is cleaned up.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from keyledger.start_error import StartError

if TYPE_CHECKING:  # loaded only when something is served
    import uvicorn

Application = Callable[..., Any]

_KEEP_ALIVE_S = 30
_GRACE_S = 20
_PORTS_TRIED = 100
_NOT_STARTED = "the service did not start; see the log"


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises StartError when the port cannot be used."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as problem:
        raise StartError(f"cannot listen on {host}, port {port}: {problem.strerror}") from None


def listen_near(host: str, port: int) -> socket.socket:
    """Return a listening socket on `port` or, where that is busy, on the next free one."""
    for candidate in range(port, min(port + _PORTS_TRIED, 65536)):
        try:
            return socket.create_server((host, candidate), backlog=2048)
        except OSError:
            continue
    return listen(host, 0)


def address_of(listener: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def configuration(app: Application) -> "uvicorn.Config":
    """Return the server's configuration."""
    import uvicorn

    from keyledger.serving.bounded_http import BoundedHttp

    return uvicorn.Config(
        app,
        http=BoundedHttp,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )


def serve_here(app: Application, listener: socket.socket) -> None:
    """Serve until a signal arrives. Raises StartError when the application does not start.

    A SIGTERM that arrives before the server hears signals ends the process in order, with code 0 (`orderly_end`).
    """
    import uvicorn

    server = uvicorn.Server(configuration(app))
    with started_or_error(server):
        server.run(sockets=[listener])


@contextmanager
def started_or_error(server: "uvicorn.Server") -> Iterator[None]:
    """Raise StartError where the server would end the process itself because the application does not start."""
    try:
        yield
    except SystemExit as end:
        if server.started or end.code == 0:
            raise
        # The server ends the process itself, with a code of its own, when the application does not start.
        raise StartError(_NOT_STARTED) from None


@contextmanager
def served_beside(app: Application, listener: socket.socket) -> Iterator[str]:
    """Serve in a thread until the block ends; yields the URL once requests are answered. Raises StartError."""
    import uvicorn

    server, settled = uvicorn.Server(configuration(app)), threading.Event()
    startup = server.startup

    async def startup_and_tell(sockets: list[socket.socket] | None = None) -> None:
        await startup(sockets)
        settled.set()

    def run() -> None:
        try:
            server.run(sockets=[listener])
        except SystemExit:
            pass  # how the server signals that the application did not start
        finally:
            settled.set()

    server.startup = startup_and_tell  # type: ignore[method-assign]  # the server has no other way to say it is ready
    thread = threading.Thread(target=run, name="http-server")
    thread.start()
    try:
        settled.wait()
        if not server.started:
            raise StartError(_NOT_STARTED)
        yield address_of(listener)
    finally:
        server.should_exit = True
        thread.join()
