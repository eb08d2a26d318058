"""Appending while the hash tree follows and checkpoints are signed, against the same with the audit trail alone.

The contestants differ in one thing: whether the tree over the log is kept, as a running service does it, by a task of
the same process that follows each second and signs what it reached.
"""

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.append import appends_of, from_threads, ready_events, written
from benchmarks.frame import Goal, Measured, Row, Scale, Section, apart, in_turn, rates, throughput_ratio
from benchmarks.stored import database
from domain.events.event import utc_now
from domain.events.event_code import NO_CODES
from keyledger.assembly.people import people_of
from keyledger.encryption.secret_keeping import SecretKeys
from keyledger.log.background_catch_up import TICK_S
from keyledger.log.event_codes.code_watch import CodeWatch
from keyledger.log.event_store import CredentialLog
from keyledger.proofs.checkpoint_signing import Transparency
from keyledger.proofs.signing_keys import LogSigner, generate_signing_key
from projections.audit import audit_trail
from projections.database.pools import open_pool
from projections.proofs import transparency_log

GOAL = Goal(0.85)


def run(scale: Scale, folder: Path) -> Section:
    """Measure 1, 8 and 32 writers in turn."""
    section = Section("transparency: appends with the tree and its checkpoints, to those without")
    with database(folder, "with_tree") as dsn, database(folder, "without_tree") as other:
        for writers in scale.clients:
            found = in_turn(
                {
                    "with the tree": partial(apart, _appending, dsn, writers, scale, True),
                    "without": partial(apart, _appending, other, writers, scale, False),
                },
                scale.rounds,
            )
            ratio = throughput_ratio(found["with the tree"], found["without"])
            section.rows.append(Row(f"append, writers: {writers}", ratio, GOAL, rates(found)))
    return section


def _appending(dsn: str, writers: int, scale: Scale, tree: bool) -> Measured:
    pool = open_pool(dsn)
    try:
        people = people_of(pool, SecretKeys())
        writes, events = appends_of(CredentialLog(pool, people.sealer)), ready_events(scale)
        work: list[Callable[[], object]] = [audit_trail.follower(pool).run]
        with tempfile.TemporaryDirectory() as data:
            if tree:
                follower = transparency_log.follower(pool)
                signer = LogSigner(generate_signing_key("benchmark"))
                watch = CodeWatch(pool, lambda: NO_CODES, lambda: 0)
                signing = Transparency(pool, dsn, follower, watch, signer, Path(data), utc_now, people.reader)
                work.append(signing.checkpoint)
            with _each_second(work), from_threads(writes) as write:
                return written(lambda: write(next(events)), writers, scale.seconds)
    finally:
        pool.close()


@contextmanager
def _each_second(work: list[Callable[[], object]]) -> Iterator[None]:
    done = threading.Event()

    def follow() -> None:
        while not done.wait(TICK_S):
            for one in work:
                one()

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
