"""A server whose only synchronous standby does not answer, so that no commit is confirmed."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from tests.support.own_server import OwnServer

ENDS = {"cancelled": "pg_cancel_backend", "terminated": "pg_terminate_backend"}
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@contextmanager
def standby_away(server: OwnServer, ends: str) -> Iterator[None]:
    """As if the only standby did not answer, and an operator ended each wait for it."""
    done = threading.Event()

    def end_waits() -> None:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            while not done.wait(0.02):
                connection.execute(f"SELECT {ENDS[ends]}(pid) FROM ({WAITING}) AS waiting".encode())

    server.run("ALTER SYSTEM SET synchronous_standby_names = 'away'", "SELECT pg_reload_conf()")
    thread = threading.Thread(target=end_waits)
    thread.start()
    try:
        _until_it_waits(server)
        yield
    finally:
        done.set()
        thread.join()
        server.run("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")


def _until_it_waits(server: OwnServer) -> None:
    """Write until a wait for the standby ends early: the server reads its settings a little later."""
    ended: list[object] = []
    while not ended:
        with suppress(psycopg.OperationalError), psycopg.connect(server.url(), autocommit=True) as connection:
            connection.add_notice_handler(ended.append)
            connection.execute("SET synchronous_commit = on")
            connection.execute("SELECT pg_logical_emit_message(true, 'test', '')")
            continue
        ended.append("terminated")
