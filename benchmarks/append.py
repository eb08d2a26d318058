"""Appending with the current view written in the same transaction, against the library's own append without any view.

One new stream with one event for each append, by threads on a pool of connections of one process, as a service has it:
appends that arrive together share a commit.
"""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

from api.front.combined_writes import CombinedWrites
from benchmarks.frame import Goal, Measured, Row, Scale, Section, apart, in_turn, measured, rates, throughput_ratio
from benchmarks.rings import sealing_ring
from benchmarks.stored import database
from domain.credentials.commands import SetCredential
from domain.credentials.credential import decide
from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import Secret
from domain.events.event import CommandMeta, Event
from keyledger.assembly.people import people_of
from keyledger.encryption.keyring import Keyring, generate_encryption_key
from keyledger.encryption.secret_keeping import SecretKeys
from keyledger.log.event_store import CredentialLog
from projections.database.pools import open_pool

GOALS = {1: Goal(1.5), 8: Goal(2.0)}
_READY = 20_000
_STATE = b"x" * 600


def run(scale: Scale, folder: Path) -> Section:
    """Measure 1, 8 and 32 writers in turn."""
    section = Section("append: one event with its view row, to the library's own append without views")
    with database(folder, "append") as dsn, database(folder, "library") as other:
        for writers in scale.clients:
            found = in_turn(
                {
                    "ours": partial(apart, _ours, dsn, writers, scale),
                    "library": partial(apart, _library, other, writers, scale),
                },
                scale.rounds,
            )
            ratio = throughput_ratio(found["ours"], found["library"])
            section.rows.append(Row(f"append, writers: {writers}", ratio, GOALS.get(writers), rates(found)))
    return section


def _ours(dsn: str, writers: int, scale: Scale) -> Measured:
    pool = open_pool(dsn)
    try:
        writes, ready = appends_of(CredentialLog(pool, people_of(pool, SecretKeys()).sealer)), ready_events(scale)
        with from_threads(writes) as write:
            return written(lambda: write(next(ready)), writers, scale.seconds)
    finally:
        pool.close()


def _library(dsn: str, writers: int, scale: Scale) -> Measured:
    url = urlsplit(dsn)
    query = parse_qs(url.query)
    datastore = PostgresDatastore(
        dbname=url.path.removeprefix("/"),
        host=query["host"][0],
        port=query["port"][0],
        user=url.username or "",
        password="",
        pool_size=8,
        max_overflow=0,
    )
    try:
        recorder = PostgresApplicationRecorder(datastore, events_table_name="library_events")
        recorder.create_table()

        def append() -> None:
            recorder.insert_events([StoredEvent(uuid4(), 1, "CredentialSet", _STATE)])

        return written(append, writers, scale.seconds)
    finally:
        datastore.close()


def appends_of(log: CredentialLog) -> CombinedWrites[Event, None]:
    """Return what appends single events to the log as a service does: those that arrive together share a commit."""

    def append_all(events: Sequence[Event]) -> Sequence[None]:
        log.append(events)
        return [None] * len(events)

    return CombinedWrites(lambda: append_all)


@contextmanager
def from_threads(writes: CombinedWrites[Event, None]) -> Iterator[Callable[[Event], None]]:
    """Give what makes a write from any thread, on one event loop, as all requests of a service are on one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield lambda event: asyncio.run_coroutine_threadsafe(writes.write(event), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def ready_events(scale: Scale) -> Iterator[Event]:
    """Return events that are sealed already: the library's contestant seals nothing."""
    ring = sealing_ring(generate_encryption_key())
    return iter([_event(ring) for _ in range(_READY if not scale.quick else 500)])


def _event(ring: Keyring) -> Event:
    meta = CommandMeta("benchmark", str(uuid4()), str(uuid4()))
    secret = Secret("sk-benchmark-0123456789abcdef0123456789abcdef")
    command = SetCredential(str(UUID(int=uuid4().int, version=4)), "openai", secret, CredentialConfig(), meta)
    return decide(None, command, datetime.now(UTC), ring)[0]


def written(append: Callable[[], object], writers: int, seconds: float) -> Measured:
    """Append by several threads for some seconds, and return what that came to."""
    took: list[float] = []
    ready = threading.Barrier(writers)
    errors: list[Exception] = []

    def write() -> None:
        try:
            append()
            ready.wait()
            until = time.perf_counter() + seconds
            for _ in itertools.count():
                started = time.perf_counter()
                if started >= until:
                    return
                append()
                took.append(time.perf_counter() - started)
        except Exception as error:
            errors.append(error)
            ready.abort()
            raise

    threads = [threading.Thread(target=write) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    return measured(took, seconds)
