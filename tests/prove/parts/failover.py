"""Failovers of a Patroni cluster under load: nothing acknowledged is lost, doubled or disobeyed.

Two services on three PostgreSQL servers; each disturbance ends in a promotion, after which the cluster is repaired.
With a synchronous standby nothing acknowledged may be missing, no call may use a replaced or deleted key, and no
service may say that the log went back. Without one a tail is lost, which is inherent; no service that acknowledged a
part of it may keep quiet about it.
"""

import random
import time
from collections.abc import Sequence
from pathlib import Path

from tests.prove.check import check
from tests.prove.client import Answer
from tests.prove.cluster import cluster as clusters
from tests.prove.cluster.cluster import Cluster, cluster
from tests.prove.cluster.disturbances import ALL, FEW, Disturbance, stop_senders
from tests.prove.findings import accusers, judge_accusations, judge_answers, judge_disputed, judge_silence
from tests.prove.ledger import DELETE, SET, Ledger, commands_of
from tests.prove.load import Load, until
from tests.prove.part import Counts, Part, Scale
from tests.prove.services import changes_in, services
from tests.support.native_provider import native_provider

_NAMES = ("first", "second")  # of the services
_SETTLE_S = 3.0  # of load between two disturbances
_AGAIN_S = 40.0  # in which services are ready again once the cluster is whole
_NOTICE_S = 10.0  # in which a lost tail has to be noticed
_TAIL_S = (0.3, 0.9)


def run(scale: Scale, rng: random.Random, folder: Path) -> Counts:
    """Run both kinds of cluster."""
    disturbances = list(FEW if scale is Scale.QUICK else ALL * scale.of(0, 1, 5))
    rng.shuffle(disturbances)
    with cluster(folder / "synchronous") as made:
        counts = _synchronous(made, disturbances, rng, folder)
    with cluster(folder / "asynchronous", synchronous=False) as made:
        for number in range(scale.of(1, 4, 20)):
            _lost_tail(made, f"round{number}", rng, folder, counts)
    return counts


def _synchronous(made: Cluster, disturbances: Sequence[Disturbance], rng: random.Random, folder: Path) -> Counts:
    failed = Counts(failovers=0)
    addresses = made.urls("keyledger", *_NAMES)
    with native_provider() as provider, services(addresses, folder, provider) as running:
        urls = {name: process.url for name, process in running.items()}
        with Ledger(folder / "ledger") as ledger, Load(urls, provider, ledger, rng) as load:
            for disturbance in disturbances:
                time.sleep(_SETTLE_S)
                _disturb(made, disturbance, load, rng, failed)
            time.sleep(_SETTLE_S)
        load.call_every_tenant()
        answers, reads = load.answers.since(0), load.reads()
    counts = check(commands_of(folder / "ledger"), changes_in(made.url("keyledger")), reads)
    judge_answers(answers, counts)
    judge_accusations(answers, counts)
    judge_disputed(answers, counts)
    failed.include(counts)
    return failed


def _disturb(made: Cluster, disturbance: Disturbance, load: Load, rng: random.Random, counts: Counts) -> None:
    primary, began = made.primary(), time.monotonic()
    disturbance.begin(made, primary, rng)
    _, promoted = made.promoted(primary)
    time.sleep(disturbance.left_s)
    made.whole()
    counts["failovers"] += 1
    whole = time.monotonic()
    until(lambda: all(_ready(load, name, whole) for name in _NAMES), _AGAIN_S)
    counts.faults += [
        f"{name} was not ready {_AGAIN_S:.0f} s after the cluster was whole: {disturbance.name}"
        for name in _NAMES
        if not _ready(load, name, whole)
    ]
    if not disturbance.two_primaries:
        firsts = [_first_write(load.answers.since(began), name, promoted) for name in _NAMES]
        counts["first write ms"] = max(counts["first write ms"], *(round(1000 * first) for first in firsts))


def _ready(load: Load, name: str, since: float) -> bool:
    """Whether a service is ready again, or has said something that only an operator ends."""
    answers = [one for one in load.answers.since(since) if one.by == name]
    return name in accusers(answers) or any(one.action == "readyz" and one.succeeded for one in answers)


def _first_write(answers: Sequence[Answer], name: str, promoted: float) -> float:
    """Return the seconds from the promotion to the first change that this service acknowledged after it."""
    ends = [one.ended for one in answers if one.by == name and one.action in {SET, DELETE} and one.succeeded]
    return min((end - promoted for end in ends if end > promoted), default=0)


def _lost_tail(made: Cluster, name: str, rng: random.Random, folder: Path, counts: Counts) -> None:
    """Lose the newest changes with the primary, on a ledger of this round's own."""
    made.new_database(name)
    there = folder / name
    there.mkdir()
    addresses = made.urls(name, *_NAMES)
    with native_provider() as provider, services(addresses, there, provider) as running:
        urls = {which: process.url for which, process in running.items()}
        with Ledger(there / "ledger", name) as ledger, Load(urls, provider, ledger, rng) as load:
            time.sleep(_SETTLE_S)
            primary = made.primary()
            stop_senders(primary)
            time.sleep(rng.uniform(*_TAIL_S))
            primary.kill_server()
            made.promoted(primary)
            until(lambda: len(accusers(load.answers.since(0))) == len(urls), _NOTICE_S)
            time.sleep(_SETTLE_S)
        answers = load.answers.since(0)
    commands, log = commands_of(there / "ledger"), changes_in(made.url(name))
    stored = {entry.request for entry in log}
    lost = {
        request.id
        for command in commands
        if command.acknowledged and stored.isdisjoint(request.id for request in command.requests)
        for request in command.requests
    }
    counts["asynchronous failovers"] += 1
    counts["tail acknowledged"] += sum(command.acknowledged for command in commands)
    counts["tail lost"] += len(lost)
    judge_silence(answers, lost, counts)
    judge_disputed(answers, counts)
    made.whole()


PART = Part(
    "failover",
    10,
    "failovers of a Patroni cluster lose, double and disobey nothing, and a lost tail is never silent",
    clusters.missing,
    run,
    quick=True,
)
