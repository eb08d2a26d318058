"""How fast a rotation is, against what the database and the cipher alone would take, and what others feel of it.

    python -m benchmarks.rotation [--credentials 20000] [--rounds 3]

In one run, in turn, on an embedded PostgreSQL with fsync on:
    plain loop      writes the same event rows and view rows, already computed, in the same batches: two prepared
                    statements with `executemany` (psycopg pipelines them) in one transaction for each batch
    one-call loop   the same rows through the append of the log, one call for each batch: the stricter of the two
    plain Fernet    decrypts and encrypts as many keys, in memory
    rotation        as the command line does it: reads, opens, seals, encodes, writes and notes its progress
and during a rotation, as a service and as the command line do it: how long other tenants' writes wait, and the p99 of
resolutions with and without it.
"""

import argparse
import asyncio
import itertools
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

from cryptography.fernet import Fernet
from psycopg_pool import ConnectionPool
from rich.console import Console
from rich.table import Table

from benchmarks.bare_loops import one_call_loop, plain_loop, seconds
from benchmarks.rings import sealing_ring
from domain.credentials.commands import ReencryptCredential, SetCredential
from domain.credentials.credential import CredentialEvent, CredentialSet, decide, evolve
from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import Secret
from domain.credentials.service import CredentialService
from domain.events.event import CommandMeta
from keyledger import embedded_postgres
from keyledger.assembly.people import people_of
from keyledger.encryption.keyring import TOKEN_PREFIX, Keyring, generate_encryption_key
from keyledger.encryption.reencryption import FAST, GENTLE, LocalReencryption, Pace, Reencryption
from keyledger.encryption.reencryption_process import ReencryptionProcess
from keyledger.encryption.rotation import RotationProgress, Rotator
from keyledger.encryption.rotation_rows import RotationRows
from keyledger.encryption.rotation_service import RecordedRun
from keyledger.encryption.secret_keeping import SecretKeys
from keyledger.log.event_store import CredentialLog
from projections.credentials.current_credentials import PostgresCurrentCredentials, PostgresResolutionProjection
from projections.database.connections import BoundedConnection
from projections.database.migration import migrate
from projections.database.pipelines import Pipelines
from projections.database.pools import open_pool

META = CommandMeta("benchmark", "benchmark", "benchmark")


def main() -> None:
    """Run the benchmark and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--credentials", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, embedded_postgres.start(Path(folder)) as server:
        rounds = [_round(server.dsn(f"round_{nth}"), chosen.credentials) for nth in range(chosen.rounds)]
        _print_speed(chosen.credentials, rounds)
        _print_felt("in a service", _felt(server.dsn("felt"), chosen.credentials, _in_a_service))
        for pace, said in ((GENTLE, "from the command line"), (FAST, "from the command line with --fast")):
            rotating = partial(_from_the_command_line, pace)
            _print_felt(said, _felt(server.dsn(f"felt_{pace.batch}"), chosen.credentials, rotating))


def _round(dsn: str, count: int) -> dict[str, float]:
    """Return the seconds of the contestants, on one fresh database."""
    old, new = generate_encryption_key(), generate_encryption_key()
    migrate(dsn)
    pool = open_pool(dsn)
    try:
        log = CredentialLog(pool, people_of(pool, SecretKeys()).sealer)
        events = _fill(log, sealing_ring(old), count)
        both = sealing_ring(new, [old])
        fernet = seconds(lambda: _plain_fernet(events, old, new))
        before = time.process_time()
        rotation = seconds(lambda: _rotate(pool, log, Rotator(pool, log, both, _now)))
        computing = time.process_time() - before
        with pool.connection() as connection:
            one_call = one_call_loop(connection, _batches(events, both, 3))
            plain = plain_loop(connection, _batches(events, both, 4))
    finally:
        pool.close()
    return {"rotation": rotation, "computing": computing, "fernet": fernet, "one-call": one_call, "plain": plain}


def _batches(events: Sequence[CredentialEvent], ring: Keyring, version: int) -> list[list[CredentialEvent]]:
    """Return what the rotation wrote once more, as another version, ready to be written."""
    again: list[CredentialEvent] = []
    for event in events:
        state = evolve(event)
        command = ReencryptCredential(state.tenant_id, state.provider, META)
        (sealed,) = decide(state, command, _now(), ring)
        again.append(replace(sealed, originator_version=version))
    return [again[start : start + FAST.batch] for start in range(0, len(again), FAST.batch)]


_Run = Callable[[str, Secret, Secret, int], None]
"""Rotates a database from one key to another, at least so many credentials."""


def _in_a_service(dsn: str, new: Secret, old: Secret, at_least: int) -> None:
    _rotate_some(dsn, new, old, at_least, ReencryptionProcess(dsn, new, [old]))


def _from_the_command_line(pace: Pace, dsn: str, new: Secret, old: Secret, at_least: int) -> None:
    """A process of its own, of the same priority as everything else."""
    arguments = (pace, dsn, new.reveal(), old.reveal(), at_least)
    process = multiprocessing.get_context("spawn").Process(target=_command_line, args=arguments)
    process.start()
    process.join()


def _command_line(pace: Pace, dsn: str, new: str, old: str, at_least: int) -> None:
    _rotate_some(dsn, Secret(new), Secret(old), at_least, pace)


def _rotate_some(dsn: str, new: Secret, old: Secret, at_least: int, how: Reencryption | Pace) -> None:
    pool = open_pool(dsn)
    try:
        log, records = CredentialLog(pool, people_of(pool, SecretKeys()).sealer), RotationRows(pool)
        ring = sealing_ring(new, [old])
        sealing = LocalReencryption(pool, log, ring, _now, how) if isinstance(how, Pace) else how
        rotator = Rotator(pool, log, ring, _now, sealing)
        begun = rotator.begin(META)
        records.open(begun)
        run = RecordedRun(rotator, records)

        def tell(progress: RotationProgress) -> None:
            if progress.counts.done >= at_least:
                run.stop.set()

        run.run(begun, META, tell)
    finally:
        pool.close()


def _felt(dsn: str, count: int, run: _Run) -> dict[str, float]:
    """Return what other writers and resolutions feel, in milliseconds: without a rotation and alongside it."""
    old, new = generate_encryption_key(), generate_encryption_key()
    migrate(dsn)
    pool = open_pool(dsn)
    try:
        log = CredentialLog(pool, people_of(pool, SecretKeys()).sealer)
        _fill(log, sealing_ring(old), count)
        both = sealing_ring(new, [old])
        service = CredentialService(log, PostgresCurrentCredentials(pool), both, _now)
        alone_write = _latencies(lambda nth: _write(service, nth), lambda: time.sleep(5))
        alone_read = asyncio.run(_read_beside(dsn, both, lambda: time.sleep(5)))
        started = time.perf_counter()
        beside_write = _latencies(lambda nth: _write(service, nth), lambda: run(dsn, new, old, count // 2))
        beside_read = asyncio.run(_read_beside(dsn, both, lambda: run(dsn, new, old, count)))
        taken = time.perf_counter() - started
    finally:
        pool.close()
    return {
        "rate": count / taken,
        "write p50 alone": _quantile(alone_write, 50),
        "write max alone": max(alone_write),
        "write p50 alongside": _quantile(beside_write, 50),
        "write p99 alongside": _quantile(beside_write, 99),
        "write max alongside": max(beside_write),
        "read p99 alone": _quantile(alone_read, 99),
        "read p99 alongside": _quantile(beside_read, 99),
    }


def _latencies(work: Callable[[int], None], meanwhile: Callable[[], object]) -> list[float]:
    """Return the milliseconds of `work`, done again and again while `meanwhile` runs."""
    done, taken = threading.Event(), list[float]()

    def run() -> None:
        for nth in itertools.count():
            if done.is_set():
                return
            started = time.perf_counter()
            work(nth)
            taken.append(1000 * (time.perf_counter() - started))
            time.sleep(0.005)

    thread = threading.Thread(target=run)
    thread.start()
    meanwhile()
    done.set()
    thread.join()
    return taken


async def _read_beside(dsn: str, ring: Keyring, meanwhile: Callable[[], object]) -> list[float]:
    pipelines = Pipelines(dsn)
    await pipelines.start()
    view, taken = PostgresResolutionProjection(pipelines), list[float]()
    other = asyncio.create_task(asyncio.to_thread(meanwhile))
    for nth in itertools.count():
        if other.done():
            break
        started = time.perf_counter()
        current = (await view.read(str(UUID(int=nth % 1000 + 1, version=4)), "openai")).stored.current()
        if current is not None and current.sealed is not None:
            ring.open(current.sealed, current.context)
        taken.append(1000 * (time.perf_counter() - started))
        await asyncio.sleep(0.002)
    await other
    await pipelines.stop()
    return taken


def _write(service: CredentialService, nth: int) -> None:
    tenant = str(UUID(int=10**9 + nth % 50, version=4))
    meta = CommandMeta("benchmark", "benchmark", str(uuid4()))
    service.handle(SetCredential(tenant, "openai", Secret(f"sk-benchmark-{nth:08}"), CredentialConfig(), meta))


def _fill(log: CredentialLog, ring: Keyring, count: int) -> list[CredentialEvent]:
    events: list[CredentialEvent] = []
    for nth in range(1, count + 1):
        secret = Secret(f"sk-benchmark-{nth:048}")
        command = SetCredential(str(UUID(int=nth, version=4)), "openai", secret, CredentialConfig(), META)
        events += decide(None, command, _now(), ring)
    for start in range(0, count, 1000):
        log.append(events[start : start + 1000])
    return events


def _rotate(pool: ConnectionPool[BoundedConnection], log: CredentialLog, rotator: Rotator) -> None:
    records = RotationRows(pool)
    begun = rotator.begin(META)
    records.open(begun)
    RecordedRun(rotator, records).run(begun, META)


def _plain_fernet(events: Sequence[CredentialEvent], old: Secret, new: Secret) -> None:
    opener, sealer = Fernet(old.reveal().encode()), Fernet(new.reveal().encode())
    for event in events:
        if isinstance(event, CredentialSet):
            sealer.encrypt(opener.decrypt(event.sealed.token.removeprefix(TOKEN_PREFIX).encode()))


def _print_speed(count: int, rounds: Sequence[dict[str, float]]) -> None:
    table = Table("what", "result", "goal", title=f"rotation of {count} credentials, {len(rounds)} rounds")
    for name in ("rotation", "plain", "one-call", "fernet"):
        table.add_row(f"{name}: credentials/s", _spread([count / one[name] for one in rounds], 0), "")
    for name, goal in (("plain", "0.70"), ("one-call", "the stricter"), ("fernet", "reported")):
        ratios = [one[name] / one["rotation"] for one in rounds]
        table.add_row(f"speed of {name} that is reached", _spread(ratios), goal)
    computing = _spread([1e6 * one["computing"] / count for one in rounds], 0)
    table.add_row("processor time of the rotation but the database's, microseconds a credential", computing, "")
    Console().print(table)


def _print_felt(name: str, felt: dict[str, float]) -> None:
    table = Table("what others feel", "result", "goal", title=f"during a rotation {name}: {felt['rate']:.0f}/s")
    table.add_row("writes alone: p50, longest, ms", _numbers(felt, "write p50 alone", "write max alone"), "")
    beside = _numbers(felt, "write p50 alongside", "write p99 alongside", "write max alongside")
    table.add_row("writes alongside: p50, p99, longest, ms", beside, "about 12 more than alone")
    ratio = felt["read p99 alongside"] / felt["read p99 alone"]
    p99s = _numbers(felt, "read p99 alone", "read p99 alongside")
    table.add_row("resolutions: p99 alone, alongside, ms", p99s, "")
    table.add_row("resolutions: p99 alongside / alone", f"{ratio:.2f}", "2.0")
    Console().print(table)


def _numbers(felt: dict[str, float], *names: str) -> str:
    return ", ".join(f"{felt[name]:.1f}" for name in names)


def _spread(values: Sequence[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _quantile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
