"""PUT and GET of credentials over HTTP, against bare inserts of as many connections and against OpenBao's KV v2.

Ours is measured as it starts, one process, and with as many processes as the machine has cores, as OpenBao uses them.
All keep what they acknowledged: ours and the bare inserts in an embedded PostgreSQL with fsync on, OpenBao in its raft
log, with an audit device as ours has an audit trail. Every PUT replaces what is there by something else.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import psycopg

from benchmarks.frame import (
    Contestant,
    Goal,
    Measured,
    Row,
    Scale,
    Section,
    apart,
    in_turn,
    measured,
    optional,
    rates,
    throughput_ratio,
)
from benchmarks.load import Call, drive, send_calls
from benchmarks.peers import Bao, openbao
from benchmarks.processes import Running
from benchmarks.service import LIST, PROCESSES, PUT, processes_named, service, set_credentials, settle
from benchmarks.stored import database

TENANTS = 500
_TABLE = """
CREATE TABLE IF NOT EXISTS bare (
    stream uuid, version bigint, topic text, state bytea, position bigserial, PRIMARY KEY (stream, version)
)"""
_INSERT = "INSERT INTO bare (stream, version, topic, state) VALUES (%s, 1, 'CredentialSet', %s)"
_STATE = b"x" * 600
TO_BARE, TO_BAO = Goal(0.2), Goal(1.0)


def run_put(scale: Scale, folder: Path) -> Section:
    """Measure writes."""
    section = Section("put: PUT of a credential over HTTP, in answers per second")
    with _contestants(scale, folder, section) as (ours, bao), database(folder, "bare") as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(_TABLE)
        for clients in scale.clients:
            contestants: dict[str, Contestant] = {
                name: partial(_drive, running, PUT, clients, scale) for name, running in ours.items()
            }
            contestants["bare inserts"] = partial(apart, _insert, dsn, clients, scale.seconds)
            if bao is not None:
                contestants["OpenBao"] = partial(_drive, bao.running, bao.put, clients, scale)
            found = in_turn(contestants, scale.rounds)
            beside = rates(found)
            for name in ours:
                if bao is not None:
                    ratio = throughput_ratio(found[name], found["OpenBao"])
                    section.rows.append(Row(f"PUT to OpenBao KV v2, {name}, clients: {clients}", ratio, TO_BAO, beside))
                ratio = throughput_ratio(found[name], found["bare inserts"])
                goal = TO_BARE if clients == 1 else None
                section.rows.append(Row(f"PUT to bare inserts, {name}, clients: {clients}", ratio, goal, beside))
    return section


def run_list(scale: Scale, folder: Path) -> Section:
    """Measure reads."""
    section = Section("list: GET of a tenant's credentials over HTTP, in answers per second")
    with _contestants(scale, folder, section) as (ours, bao):
        if bao is None:
            return section
        for clients in scale.clients:
            contestants: dict[str, Contestant] = {
                name: partial(_drive, running, LIST, clients, scale) for name, running in ours.items()
            }
            contestants["OpenBao"] = partial(_drive, bao.running, bao.get, clients, scale)
            found = in_turn(contestants, scale.rounds)
            for name in ours:
                ratio = throughput_ratio(found[name], found["OpenBao"])
                what = f"GET to OpenBao KV v2, {name}, clients: {clients}"
                section.rows.append(Row(what, ratio, TO_BAO, rates(found)))
    return section


@contextmanager
def _contestants(scale: Scale, folder: Path, section: Section) -> Iterator[tuple[dict[str, Running], Bao | None]]:
    """Start all, with a secret for each tenant in each: ours as one process and as several, and OpenBao."""
    with ExitStack() as opened:
        ours: dict[str, Running] = {}
        for processes in sorted({1, PROCESSES}):
            name = processes_named(processes)
            place = folder / name.replace(" ", "-")
            place.mkdir()
            ours[name] = running = opened.enter_context(service(place, processes=processes))
            settle(running, processes)
            set_credentials(running, _tenants(scale))
        bao: Bao | None = None
        with optional(section, "OpenBao"):
            found = opened.enter_context(openbao(folder))
            send_calls(found.running.port, _over_tenants(found.put, scale), 1, _tenants(scale))
            bao = found
        yield ours, bao


def _drive(running: Running, call: Call, clients: int, scale: Scale) -> Measured:
    return drive(running.port, _over_tenants(call, scale), clients, scale.seconds, scale.warm_up)


def _over_tenants(call: Call, scale: Scale) -> Call:
    return Call(call.method, call.path, call.headers, call.body, _tenants(scale))


def _tenants(scale: Scale) -> int:
    return 20 if scale.quick else TENANTS


def _insert(dsn: str, connections: int, seconds: float) -> Measured:
    """Commit one row after the other on each of so many connections."""
    took: list[float] = []
    ready = threading.Barrier(connections)

    def insert() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(_INSERT, [uuid4(), _STATE], prepare=True)
            ready.wait()
            until = time.perf_counter() + seconds
            while (started := time.perf_counter()) < until:
                connection.execute(_INSERT, [uuid4(), _STATE], prepare=True)
                took.append(time.perf_counter() - started)

    threads = [threading.Thread(target=insert) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return measured(took, seconds)
