"""Ports for servers that need a fixed one: outside the range from which the system gives ports to clients."""

import itertools
import os
import socket

_FIRST, _COUNT = 20_000, 400
_TURNS = itertools.count(os.getpid())


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port of `host` that is free. Workers of one test run never get the same one."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for turn in itertools.islice(_TURNS, _COUNT):
        port = _FIRST + worker % 30 * _COUNT + turn % _COUNT
        try:
            with socket.create_server((host, port)):
                return port
        except OSError:
            continue
    raise AssertionError(f"no port is free at {host}")
