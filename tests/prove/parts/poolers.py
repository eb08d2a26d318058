"""PgBouncer in both modes between services and PostgreSQL, and HAProxy in front of a cluster.

Two services work through it while the server ends their connections, or while the cluster fails over. Nothing
acknowledged is lost, doubled or disobeyed, and the services recover by themselves.
"""

import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.prove.away import connected
from tests.prove.check import check
from tests.prove.cluster import cluster as clusters
from tests.prove.cluster import haproxy as proxies
from tests.prove.cluster.cluster import cluster
from tests.prove.cluster.disturbances import KILL, SWITCHOVER
from tests.prove.cluster.haproxy import haproxy
from tests.prove.findings import judge_accusations, judge_answers, judge_disputed
from tests.prove.ledger import SET, Ledger, commands_of
from tests.prove.load import Load, until
from tests.prove.part import Counts, Part, Scale
from tests.prove.parts.suite import pgbouncer_missing
from tests.prove.services import changes_in, services
from tests.support.native_provider import native_provider
from tests.support.own_server import own_server
from tests.support.pooler import pooled

_SETTLE_S = 2.0
_AGAIN_S = 20.0
_ENDING = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = 'keyledger' AND pid <> pg_backend_pid() AND random() < 0.7"""


def _pgbouncer(mode: str, scale: Scale, rng: random.Random, folder: Path) -> Counts:
    """Work through PgBouncer, whose connections to the server end now and then."""
    with own_server(["host all all 127.0.0.1/32 trust"]) as server:
        server.run("CREATE DATABASE keyledger", "CREATE ROLE app LOGIN SUPERUSER")
        direct = server.url("keyledger")
        with ExitStack() as stack:
            pooler = stack.enter_context(pooled(direct, f"pool_mode = {mode}"))

            def end_connections() -> None:
                with connected(direct) as connection:
                    connection.execute(_ENDING)

            return _worked(pooler.url, direct, [end_connections] * scale.of(2, 6, 40), rng, folder)


def _haproxy(scale: Scale, rng: random.Random, folder: Path) -> Counts:
    """Work through HAProxy while the cluster behind it fails over."""
    with cluster(folder / "cluster") as made, haproxy(made, folder) as url:

        def fail_over() -> None:
            primary = made.primary()
            rng.choice((KILL, SWITCHOVER)).begin(made, primary, rng)
            made.promoted(primary)
            made.whole()

        return _worked(url, made.url("keyledger"), [fail_over] * scale.of(1, 3, 20), rng, folder)


def _worked(url: str, direct: str, disturbances: list[Callable[[], None]], rng: random.Random, folder: Path) -> Counts:
    """Run two services on an address and disturb them; check the log at the other address."""
    names, tried = ("first", "second"), Counts(disturbed=0)
    with native_provider() as provider, services(dict.fromkeys(names, url), folder, provider) as running:
        urls = {name: process.url for name, process in running.items()}
        with Ledger(folder / "ledger") as ledger, Load(urls, provider, ledger, rng) as load:
            for disturb in disturbances:
                time.sleep(_SETTLE_S)
                disturb()
                tried["disturbed"] += 1
                if not _both_write(load, time.monotonic()):
                    tried.faults.append(f"a service did not write again {_AGAIN_S:.0f} s after a disturbance")
            time.sleep(_SETTLE_S)
        load.call_every_tenant()
    counts = check(commands_of(folder / "ledger"), changes_in(direct), load.reads())
    for judge in (judge_answers, judge_accusations, judge_disputed):
        judge(load.answers.since(0), counts)
    tried.include(counts)
    return tried


def _both_write(load: Load, since: float) -> bool:
    """Wait until both services have written after this time; return whether it was in time."""

    def wrote() -> bool:
        return len({one.by for one in load.answers.since(since) if one.action == SET and one.succeeded}) == 2

    return until(wrote, _AGAIN_S)


def run_pgbouncer(scale: Scale, rng: random.Random, folder: Path) -> Counts:
    """Run both modes."""
    together = Counts()
    for mode in ("session", "transaction"):
        there = folder / mode
        there.mkdir()
        there.chmod(0o755)
        together.include(_pgbouncer(mode, scale, rng, there), f"in {mode} mode: ")
    return together


PGBOUNCER = Part(
    "pgbouncer",
    1.5,
    "services behind PgBouncer, in session and in transaction mode, lose and disobey nothing",
    pgbouncer_missing,
    run_pgbouncer,
    quick=False,
)
HAPROXY = Part(
    "haproxy",
    1.5,
    "services behind HAProxy follow the failovers of a Patroni cluster",
    lambda: proxies.missing() or clusters.missing(),
    _haproxy,
    quick=False,
)
