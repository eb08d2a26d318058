"""Whether the hosts that credentials and settings send calls to can be resolved from this machine.

Promises: names are looked up, no host is connected to; a name server that does not answer costs `PATIENCE_S` seconds in
total.
"""

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from time import monotonic
from urllib.parse import urlsplit

from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, ok, warning
from projections.database.connections import unavailable

SUBJECT = "endpoints"
PATIENCE_S = 10.0
AT_MOST = 500
"""The most hosts that are looked up."""
_AT_ONCE = 16
_ENDPOINTS = """
SELECT endpoint, count(*) AS live FROM current_credentials
 WHERE token IS NOT NULL AND endpoint IS NOT NULL GROUP BY endpoint
"""


def look(here: Circumstances) -> Iterator[Finding]:
    """Report which hosts of stored credentials and of settings cannot be resolved."""
    settings = here.settings
    needed = Counter(_host(url) for url in settings.policy.base_urls.values()) if settings else Counter()
    needed += _of_credentials(here)
    hosts = sorted(needed)[:AT_MOST]
    unresolved = _unresolved(hosts)
    for host in sorted(unresolved):
        said = f"{host} cannot be resolved from this machine; credentials or settings that use it: {needed[host]}"
        yield warning(SUBJECT, said, f"getent hosts {host}")
    if len(needed) > len(hosts):
        yield warning(SUBJECT, f"{len(needed) - len(hosts)} more hosts were not looked up", None)
    if not hosts:
        yield ok(SUBJECT, "no credential and no setting names a host")
    elif not unresolved:
        yield ok(SUBJECT, f"every host can be resolved from this machine ({len(hosts)})")


def _of_credentials(here: Circumstances) -> Counter[str]:
    needed: Counter[str] = Counter()
    with unavailable(), here.pool().connection() as connection:
        for row in connection.execute(_ENDPOINTS).fetchall():
            needed[_host(row["endpoint"])] += row["live"]
    return needed


def _host(endpoint: str) -> str:
    """Return the host alone: a path may contain what should not be shown."""
    try:
        return urlsplit(endpoint).hostname or "an unreadable host name"
    except ValueError:
        return "an unreadable host name"


def _unresolved(hosts: list[str]) -> set[str]:
    """Return the hosts that were not found, or not in time.

    The threads end with the process: a lookup that hangs in the system's library cannot be cancelled.
    """
    waiting: SimpleQueue[str] = SimpleQueue()
    found: SimpleQueue[str | None] = SimpleQueue()
    for host in hosts:
        waiting.put(host)
    for _ in range(min(_AT_ONCE, len(hosts))):
        threading.Thread(target=_look_up, args=(waiting, found), daemon=True).start()
    unresolved, until = set(hosts), monotonic() + PATIENCE_S
    for _ in hosts:
        try:
            unresolved.discard(found.get(timeout=max(0.0, until - monotonic())) or "")
        except Empty:
            break
    return unresolved


def _look_up(waiting: SimpleQueue[str], found: SimpleQueue[str | None]) -> None:
    while True:
        try:
            host = waiting.get_nowait()
        except Empty:
            return
        try:
            socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            found.put(None)
        else:
            found.put(host)
