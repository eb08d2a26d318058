"""The ways in which the primary of a cluster fails, and how long each is left alone afterwards.

A disturbance ends in another node's promotion. Stopped agents leave two primaries: the old one is not told that it was
replaced, as after a hang, a pause of a virtual machine, or a cut between it and etcd.
"""

import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from tests.prove.away import Ending, ending_waits
from tests.prove.cluster.cluster import Cluster
from tests.prove.cluster.node import Node

_PATIENCE_S = 60
_UNCONFIRMED_S = 2.0
_NOTED_S = 5.0


@dataclass(frozen=True)
class Disturbance:
    """One way. left_s: seconds between the promotion and the repair. two_primaries: whether the old one serves on."""

    name: str
    begin: Callable[[Cluster, Node, random.Random], None]
    left_s: float = 2.0
    two_primaries: bool = False


def _kill_postmaster(_: Cluster, primary: Node, __: random.Random) -> None:
    pid = primary.postmaster
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def _end_node(_: Cluster, primary: Node, __: random.Random) -> None:
    primary.end_agent()
    primary.kill_server()


def _stop_agent(_: Cluster, primary: Node, __: random.Random) -> None:
    primary.signal_agent(signal.SIGSTOP)


def _stop_server(_: Cluster, primary: Node, __: random.Random) -> None:
    primary.signal_server(signal.SIGSTOP)


def _stop_node(_: Cluster, primary: Node, __: random.Random) -> None:
    primary.signal_agent(signal.SIGSTOP)
    primary.signal_server(signal.SIGSTOP)


def stop_senders(primary: Node) -> None:
    """Stop what sends the primary's changes to its standbys, as a cut between them would."""
    for pid in primary.senders():
        os.kill(pid, signal.SIGSTOP)


def _stop_senders(_: Cluster, primary: Node, __: random.Random) -> None:
    stop_senders(primary)
    time.sleep(_UNCONFIRMED_S)  # in which commits wait for a standby, and clients give up
    primary.kill_server()


def _unconfirmed(_: Cluster, primary: Node, rng: random.Random) -> None:
    """Make commits visible that no standby has, for long enough to be noted by every service, and lose them."""
    stop_senders(primary)
    with ending_waits(primary.url(), rng.choice((Ending.CANCEL, Ending.TERMINATE)), rng):
        time.sleep(_NOTED_S)
    primary.kill_server()


def _switch_over(cluster: Cluster, primary: Node, _: random.Random) -> None:
    found = primary.asked("/cluster")
    assert found is not None
    standby = next(member["name"] for member in found["members"] if member["role"] == "sync_standby")
    asked = urllib.request.Request(
        f"http://127.0.0.1:{primary.rest}/switchover",
        json.dumps({"leader": primary.name, "candidate": standby}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=_PATIENCE_S) as answer:
        assert answer.status == 200, answer.read()


KILL = Disturbance("kill of the postmaster", _kill_postmaster)
NODE_DEATH = Disturbance("death of the node", _end_node, 4)
AGENT = Disturbance("stopped agent", _stop_agent, 8, two_primaries=True)
SERVER = Disturbance("stopped server", _stop_server, 4)
NODE = Disturbance("stopped node", _stop_node, 4)
SENDERS = Disturbance("stopped WAL senders, then a kill", _stop_senders)
UNCONFIRMED = Disturbance("stopped WAL senders and ended waits, then a kill", _unconfirmed)
SWITCHOVER = Disturbance("switchover", _switch_over)

FEW = (KILL, AGENT, UNCONFIRMED)
ALL = (
    *[KILL] * 5,
    *[NODE_DEATH] * 2,
    *[AGENT] * 3,
    *[SERVER] * 2,
    *[NODE] * 2,
    *[SENDERS] * 2,
    *[UNCONFIRMED] * 2,
    *[SWITCHOVER] * 2,
)
