"""Bad networks between a service and its database, and between services and a provider.

Two services on one PostgreSQL; the first reaches it through a proxy, and both reach the provider through another one.
A bad network to the database makes the first service answer 503, and the second one does not notice; a bad network to
the provider fails calls and no change. Nothing acknowledged is lost, doubled or disobeyed, and each service is ready
again by itself.
"""

import random
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from tests.prove.check import check
from tests.prove.client import Answer
from tests.prove.findings import judge_accusations, judge_answers, judge_disputed
from tests.prove.ledger import DELETE, SET, Ledger, commands_of
from tests.prove.load import Load, until
from tests.prove.part import Counts, Part, Scale, nothing
from tests.prove.proxy import Network, Proxy, proxy
from tests.prove.services import changes_in, services
from tests.support.native_provider import native_provider
from tests.support.own_server import own_server

_BAD = [network for network in Network if network is not Network.GOOD]
_SETTLE_S = 1.5
_BAD_S = (3.0, 6.0)
_AGAIN_S = 20.0


def run(scale: Scale, rng: random.Random, folder: Path) -> Counts:
    """Try each network at each place."""
    tried = Counts(networks=0)
    with own_server() as server, native_provider() as provider:
        server.run("CREATE DATABASE keyledger")
        direct = server.url("keyledger")
        there = urlsplit(provider.url)
        assert there.port is not None
        with proxy("127.0.0.1", server.port) as to_database, proxy("127.0.0.1", there.port) as to_provider:
            addresses = {"first": replace(server, port=to_database.port).url("keyledger"), "second": direct}
            reached = replace(provider, url=f"http://127.0.0.1:{to_provider.port}")
            cases = [(where, bad) for where in (to_database, to_provider) for bad in _BAD] * scale.of(1, 2, 10)
            rng.shuffle(cases)
            with services(addresses, folder, reached) as running:
                urls = {name: process.url for name, process in running.items()}
                with Ledger(folder / "ledger") as ledger, Load(urls, provider, ledger, rng) as load:
                    for where, bad in cases:
                        name = "the database" if where is to_database else "the provider"
                        _try(load, where, bad, name, rng, tried)
                load.call_every_tenant()
        counts = check(commands_of(folder / "ledger"), changes_in(direct), load.reads())
    answers = load.answers.since(0)
    for judge in (judge_answers, judge_accusations, judge_disputed):
        judge(answers, counts)
    tried.include(counts)
    return tried


def _try(load: Load, where: Proxy, bad: Network, name: str, rng: random.Random, counts: Counts) -> None:
    time.sleep(_SETTLE_S)
    began = time.monotonic()
    where.behave(bad)
    time.sleep(rng.uniform(*_BAD_S))
    ended = time.monotonic()
    where.clear()
    counts["networks"] += 1
    while_bad = f"the network to {name} was {bad.value}"
    if not until(lambda: all(_well(load, one, ended) for one in ("first", "second")), _AGAIN_S):
        counts.faults.append(f"a service did not serve again {_AGAIN_S:.0f} s after {while_bad}")
    apart = ("first", "second") if name == "the provider" else ("second",)
    hurt = [one for one in load.answers.since(began) if one.by in apart and _is_change(one) and one.ended < ended]
    failed = [one for one in hurt if one.status == 0 or one.status >= 500]
    counts["changes hurt elsewhere"] += len(failed)
    if failed:
        said = f"{failed[0].by} answered {failed[0].status} to {len(failed)} of {len(hurt)} changes"
        counts.faults.append(f"{said}, which do not need it, while {while_bad}")


def _well(load: Load, name: str, since: float) -> bool:
    """Whether a service is ready, changes something and makes a call."""
    done = {one.action for one in load.answers.since(since) if one.by == name and one.succeeded}
    return {SET, "call", "readyz"} <= done


def _is_change(answer: Answer) -> bool:
    return answer.action in {SET, DELETE}


PART = Part(
    "network",
    2.5,
    "bad networks to the database or a provider lose nothing, hurt nothing that does not use them, and pass",
    nothing,
    run,
    quick=False,
)
