"""Starts the service in a network of loopback alone, in which this program runs, and prints what it says, as JSON."""

import fcntl
import json
import os
import socket
import struct
import sys
import time
from pathlib import Path

from tests.support.service import ServiceProcess, client_of

_SET_FLAGS, _UP_AND_RUNNING = 0x8914, 0x41
_PATIENCE_S = 180
_OUTSIDE = ("1.1.1.1", "8.8.8.8")


def main() -> None:
    """Switch loopback on, start the service, and wait until it is ready."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH14x", b"lo", _UP_AND_RUNNING))
    with ServiceProcess(dict(os.environ), Path.cwd(), cold=True) as process, client_of(process.url) as client:
        deadline = time.monotonic() + _PATIENCE_S
        while not (ready := client.http.get("/readyz")).is_success and time.monotonic() < deadline:
            time.sleep(0.05)
        listed = client.http.get("/api/v1/tenants/11111111-1111-4111-8111-111111111111/openai/v1/models").json()
    seen = {
        "ready": ready.json(),
        "models": [one["id"] for one in listed["data"]],
        "log": process.log,
        "reached": [address for address in _OUTSIDE if _reaches(address)],
    }
    json.dump(seen, sys.stdout)


def _reaches(address: str) -> bool:
    try:
        socket.create_connection((address, 443), timeout=1).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
