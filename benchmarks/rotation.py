"""How fast a rotation is, against what the database and the cipher alone would take, and what others feel of it.

    python -m benchmarks.rotation [--credentials 20000] [--rounds 3]

In one run, in turn, on an embedded PostgreSQL with fsync on:
    bare loop       writes the very same event rows and view rows, already computed, in the same batches
    plain Fernet    decrypts and encrypts as many keys, in memory
    rotation        reads, opens, seals, encodes and writes
and beside a rotation: how long other tenants' writes wait, and the p99 of resolutions with and without it.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from cryptography.fernet import Fernet
from rich.console import Console
from rich.table import Table

from domain.credential import CredentialEvent, CredentialSet, ReencryptCredential, SetCredential, decide, evolve
from domain.event import CommandMeta
from domain.event_codec import encode
from domain.providers import CredentialConfig
from domain.secret import Secret
from domain.service import CredentialService
from keyledger import embedded_postgres
from keyledger.event_store import CredentialLog
from keyledger.keyring import TOKEN_PREFIX, Keyring, generate_encryption_key
from keyledger.rotation import RotationProgress, Rotator
from keyledger.sealing import BATCH
from projections.current_credentials import PostgresCurrentCredentials, PostgresResolutionView, project
from projections.migration import migrate
from projections.postgres import make_async_pool, open_pool

META = CommandMeta("benchmark", "benchmark", "benchmark")


def main() -> None:
    """Run the benchmark and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--credentials", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, embedded_postgres.start(Path(folder)) as server:
        rounds = [_round(server.dsn(f"round_{nth}"), chosen.credentials) for nth in range(chosen.rounds)]
        felt = _felt(server.dsn("felt"), chosen.credentials)
    _print(chosen.credentials, rounds, felt)


def _round(dsn: str, count: int) -> dict[str, float]:
    """Return the seconds of the three contestants on one fresh database each way."""
    old, new = generate_encryption_key(), generate_encryption_key()
    migrate(dsn)
    pool = open_pool(dsn)
    try:
        log = CredentialLog(pool)
        events = _fill(log, Keyring(old), count)
        both = Keyring(new, [old])
        fernet = _seconds(lambda: _plain_fernet(events, old, new))
        rotation = _seconds(lambda: _rotate(Rotator(pool, log, both, _now)))
    finally:
        pool.close()
    return {"rotation": rotation, "fernet": fernet, "bare": _bare(f"{dsn}", events, both)}


def _bare(dsn: str, events: Sequence[CredentialEvent], ring: Keyring) -> float:
    """Write what the rotation wrote once more, one version later, from rows that are ready."""
    again: list[CredentialEvent] = []
    for event in events:
        state = replace(evolve(event))
        command = ReencryptCredential(state.tenant_id, state.provider, META)
        (sealed,) = decide(state, command, _now(), ring)
        again.append(replace(sealed, originator_version=3))
    batches = [_rows(again[start : start + BATCH]) for start in range(0, len(again), BATCH)]
    pool = open_pool(dsn)
    try:
        with pool.connection() as connection:

            def write() -> None:
                for batch in batches:
                    connection.execute("SELECT keyledger_append(%s, %s, %s, %s, %s::jsonb)", batch, prepare=True)

            return _seconds(write)
    finally:
        pool.close()


def _rows(events: Sequence[CredentialEvent]) -> list[object]:
    return [
        [event.originator_id for event in events],
        [event.originator_version for event in events],
        [event.TOPIC for event in events],
        [encode(event) for event in events],
        json.dumps([project(event) for event in events], default=str),
    ]


def _felt(dsn: str, count: int) -> dict[str, float]:
    """Return what other writers and resolutions feel, in milliseconds: before a rotation and beside it."""
    old, new = generate_encryption_key(), generate_encryption_key()
    migrate(dsn)
    pool = open_pool(dsn)
    try:
        log = CredentialLog(pool)
        _fill(log, Keyring(old), count)
        both = Keyring(new, [old])
        service = CredentialService(log, PostgresCurrentCredentials(pool), both, _now)
        alone_write = _latencies(lambda nth: _write(service, nth), lambda: time.sleep(3))
        alone_read = asyncio.run(_read_beside(dsn, both, lambda: time.sleep(3)))
        rotator = Rotator(pool, log, both, _now)
        begun = rotator.begin(META)
        half = count // 2
        beside_write = _latencies(
            lambda nth: _write(service, nth),
            lambda: rotator.run(begun, META, lambda progress: progress.counts.done < half),
        )
        beside_read = asyncio.run(_read_beside(dsn, both, lambda: rotator.run(begun, META, _go_on)))
    finally:
        pool.close()
    return {
        "write p50 alone": _quantile(alone_write, 50),
        "write max alone": max(alone_write),
        "write p50 beside": _quantile(beside_write, 50),
        "write max beside": max(beside_write),
        "read p99 alone": _quantile(alone_read, 99),
        "read p99 beside": _quantile(beside_read, 99),
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
    pool = make_async_pool(dsn)
    await pool.open()
    view, taken = PostgresResolutionView(pool), list[float]()
    other = asyncio.create_task(asyncio.to_thread(meanwhile))
    for nth in itertools.count():
        if other.done():
            break
        started = time.perf_counter()
        current = (await view.read(str(UUID(int=nth % 1000 + 1, version=4)), "openai")).current()
        if current is not None and current.sealed is not None:
            ring.open(current.sealed, current.context)
        taken.append(1000 * (time.perf_counter() - started))
        await asyncio.sleep(0.002)
    await other
    await pool.close()
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


def _rotate(rotator: Rotator) -> None:
    rotator.run(rotator.begin(META), META, _go_on)


def _go_on(_: RotationProgress) -> bool:
    return True


def _plain_fernet(events: Sequence[CredentialEvent], old: Secret, new: Secret) -> None:
    opener, sealer = Fernet(old.reveal().encode()), Fernet(new.reveal().encode())
    for event in events:
        if isinstance(event, CredentialSet):
            sealer.encrypt(opener.decrypt(event.sealed.token.removeprefix(TOKEN_PREFIX).encode()))


def _print(count: int, rounds: Sequence[dict[str, float]], felt: dict[str, float]) -> None:
    ratios = [one["bare"] / one["rotation"] for one in rounds]
    against_fernet = [one["fernet"] / one["rotation"] for one in rounds]
    rates = [count / one["rotation"] for one in rounds]
    table = Table("what", "result", "goal", title=f"rotation of {count} credentials, {len(rounds)} rounds")
    table.add_row("credentials/s, median", f"{statistics.median(rates):.0f}", "about 6000 is the measured limit")
    table.add_row("speed of the bare loop that is reached", _spread(ratios), "0.70")
    table.add_row("speed of plain Fernet that is reached", _spread(against_fernet), "reported")
    table.add_row(
        "other writes: longest wait, ms", f"{felt['write max beside']:.1f}", "one batch, about 12 more than alone"
    )
    table.add_row(
        "other writes alone: longest, p50, ms", f"{felt['write max alone']:.1f}, {felt['write p50 alone']:.1f}", ""
    )
    table.add_row("other writes beside: p50, ms", f"{felt['write p50 beside']:.1f}", "")
    ratio = felt["read p99 beside"] / felt["read p99 alone"]
    table.add_row("resolutions: p99 beside / alone", f"{ratio:.2f} ({felt['read p99 beside']:.2f} ms)", "2.0")
    Console().print(table)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _quantile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
