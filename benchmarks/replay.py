"""Replay of a long log, in ratio to reading the same rows with the driver alone.

    python -m benchmarks.replay [--events N] [--keep FOLDER]

Generates events (most set or replace a credential, some delete or re-encrypt one) in an embedded PostgreSQL of its own
with fsync on, and measures each step in a process of its own, so that its memory is its own. The figures are of one run
on one machine; the ratios are what counts.
"""

import argparse
import multiprocessing
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg

from domain.credentials.credential import CredentialDeleted, CredentialReencrypted, CredentialSet, stream_id
from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import SealedSecret
from domain.event_codec import encode
from domain.events.event import Event
from domain.operations.replay import Swap
from keyledger import embedded_postgres
from projections.database.migration import migrate
from projections.replay.parallel_fill import WORKERS
from projections.replay.replaying import PROJECTIONS, replay_projection
from scripts.terminal.output import Table, print_table

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as Pipe

EVENTS = 1_000_000
EVENTS_OF_A_TENANT = 50
PROVIDERS = ("openai", "anthropic")
PAGE = 5_000
READ_VIEWS = ("current_credentials", "audit_trail")
ROUNDS = 3
RATIO_GOAL, LINEAR_GOAL, MEMORY_GOAL_MB = 0.30, 1.2, 400
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_COPY = (
    "COPY keyledger_events (originator_id, originator_version, topic, state, notification_id)"
    " FROM STDIN (FORMAT binary)"
)
_RAW = (
    "SELECT notification_id, originator_id, originator_version, topic, state, code_key_id, code FROM keyledger_events"
    " WHERE notification_id > %s ORDER BY notification_id LIMIT %s"
)


@dataclass(frozen=True, slots=True)
class Measured:
    """The duration of one step. `peak_mb`: of the process and its helpers together, at most."""

    seconds: float
    peak_mb: float


def generate(dsn: str, count: int) -> None:
    """Fill the log with `count` events of tenants in random order, one for every fifty events, and build the views."""
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(("uuid", "int8", "text", "bytea", "int8"))
        for position, event in enumerate(_events(count), start=1):
            row = (event.originator_id, event.originator_version, event.TOPIC, encode(event), position)
            copy.write_row(row)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE keyledger_events")
    for view in PROJECTIONS:
        replay_projection(dsn, view, swap=Swap.ALWAYS)


def read_raw(dsn: str) -> None:
    """Read every row as the replay does, and do nothing with it."""
    position = 0
    with psycopg.connect(dsn, autocommit=True) as connection, connection.cursor(binary=True) as cursor:
        while rows := cursor.execute(_RAW, [position, PAGE]).fetchall():
            position = rows[-1][0]


def replay_all(dsn: str) -> None:
    """Replay the two views that people read, compare and swap."""
    for view in READ_VIEWS:
        replay_one(dsn, view)


def replay_one(dsn: str, view: str) -> None:
    """Replay one view, compare and swap."""
    result = replay_projection(dsn, view)
    assert result.swapped, result


def measured(work: Callable[..., None], *arguments: object) -> Measured:
    """Do the work in a new process and return what it took there."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(there, work, arguments))
    process.start()
    there.close()
    try:
        found: Measured = here.recv()
    except EOFError:
        raise SystemExit("a step of the benchmark failed") from None
    process.join()
    return found


def _report(to: "Pipe", work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    started = time.perf_counter()
    work(*arguments)
    seconds = time.perf_counter() - started
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    own, largest = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    to.send(Measured(seconds, (own + WORKERS * largest) / unit))


def _events(count: int) -> Iterator[Event]:
    chance = random.Random(20260101)  # noqa: S311  the same log every time
    tenants = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(max(1, count // EVENTS_OF_A_TENANT))]
    versions: dict[tuple[str, str], int] = {}
    live: set[tuple[str, str]] = set()
    for number in range(count):
        place = (chance.choice(tenants), chance.choice(PROVIDERS))
        versions[place] = version = versions.get(place, 0) + 1
        yield _event(place, version, number, chance, live)


def _event(
    place: tuple[str, str], version: int, number: int, chance: random.Random, live: set[tuple[str, str]]
) -> Event:
    at = _BEGIN + timedelta(seconds=number)
    common = {
        "originator_id": stream_id(*place),
        "originator_version": version,
        "tenant_id": place[0],
        "provider": place[1],
        "actor": "benchmark",
        "request_id": f"00000000-0000-4000-8000-{number:012d}",
        "command_id": f"11111111-1111-4111-8111-{number:012d}",
        "timestamp": at,
    }
    what = chance.random()
    if place in live and what < 0.05:
        live.discard(place)
        return CredentialDeleted(**common)  # type: ignore[arg-type]  # the dictionary above
    kind = CredentialReencrypted if place in live and what < 0.25 else CredentialSet
    live.add(place)
    token, binding = f"{chance.getrandbits(640):0160x}"[:140], f"{chance.getrandbits(256):064x}"[:43]
    return kind(
        **common,  # type: ignore[arg-type]  # as above
        sealed=SealedSecret(f"enc:fernet:v1:{token}", f"hmac-sha256:v1:{binding}=", "k0123456789"),
        masked_key=f"...{number % 10_000:04d}",
        config=CredentialConfig(),
        set_at=at,
    )


def _prepared(server: embedded_postgres.EmbeddedPostgres, count: int) -> str:
    dsn = server.dsn(f"replay_{count}")
    migrate(dsn)
    with psycopg.connect(dsn) as connection:
        filled = connection.execute("SELECT count(*) FROM keyledger_events").fetchone()
    if filled != (count,):
        started = time.perf_counter()
        measured(generate, dsn, count)
        print(f"{count:,} events generated in {time.perf_counter() - started:.1f} s", file=sys.stderr)
    return dsn


def run(folder: Path, count: int) -> None:
    """Measure and print the table."""
    with embedded_postgres.start(folder) as server:
        big, small = _prepared(server, count), _prepared(server, count // 10)
        contestants: Sequence[tuple[Callable[[str], None], str]] = (
            (read_raw, big),
            (replay_all, big),
            (replay_all, small),
        )
        views = {view: measured(replay_one, big, view) for view in PROJECTIONS}
        # In turn, and the median of each, so that others on the machine slow all of them down alike.
        turns = [[measured(work, dsn) for work, dsn in contestants] for _ in range(ROUNDS)]
        raw, both, tenth = (_median([turn[nth] for turn in turns]) for nth in range(3))
    linear = (both.seconds / count) / (tenth.seconds / (count // 10))
    ratio = raw.seconds / both.seconds
    rows = [
        ("raw read through psycopg", f"{raw.seconds:.1f} s", f"{count / raw.seconds:,.0f} rows/s", ""),
        *(
            (f"replay of {view}", f"{took.seconds:.1f} s", f"{count / took.seconds:,.0f} rows/s", "")
            for view, took in views.items()
        ),
        ("replay of both", f"{both.seconds:.1f} s", f"{count / both.seconds:,.0f} rows/s", ""),
        ("both in ratio to raw", f"{ratio:.2f}", f">= {RATIO_GOAL:.2f}", _held(ratio >= RATIO_GOAL)),
        ("peak memory", f"{both.peak_mb:.0f} MB", f"< {MEMORY_GOAL_MB} MB", _held(both.peak_mb < MEMORY_GOAL_MB)),
        (
            f"cost of an event, to that at {count // 10:,}",
            f"{linear:.2f}",
            f"<= {LINEAR_GOAL}",
            _held(linear <= LINEAR_GOAL),
        ),
    ]
    print_table(Table(("what", "result", "rate or goal", "goal held"), rows, f"{count:,} events"))


def _median(found: Sequence[Measured]) -> Measured:
    return Measured(statistics.median(one.seconds for one in found), max(one.peak_mb for one in found))


def _held(holds: bool) -> str:
    return "yes" if holds else "NO"


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description="Measure replay.")
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--keep", type=Path, help="keep the database in this folder, for another run")
    given = parser.parse_args()
    if given.keep:
        run(given.keep, given.events)
        return
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), given.events)


if __name__ == "__main__":
    main()
