"""Three PostgreSQL servers under Patroni on loopback, as docs/operations.md describes them.

Promises: `cluster` gives them whole, with a primary, a synchronous standby where that is asked for, and a database
`keyledger` that an ordinary role owns. Whatever was killed or stopped in between, `whole` starts and continues it and
waits until all three are there again. Nothing runs after the block.
"""

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml
from psycopg import sql

from tests.prove.cluster import etcd, install
from tests.prove.cluster.node import ADMINISTRATOR, OWNER, Node
from tests.support.places import REPOSITORY

TTL_S = 20
"""Seconds after which a primary whose agent is silent is no longer the primary. Patroni allows no less."""
_NODES = 3
_PATIENCE_S = 120
_LOOK_S = 0.05
_ANY_LAG = 1 << 30  # an asynchronous standby is promoted however far it is behind: that is what is tried


def missing() -> str:
    """Return what the machine lacks for a cluster, "" if nothing."""
    if lacking := etcd.missing():
        return lacking
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        return "setpriv is not installed (apt-get install util-linux)"
    if problem := install.install():
        return f"Patroni could not be installed: {problem}"
    return ""


def configuration(*, synchronous: bool) -> dict[str, Any]:
    """Return the `patroni.yml` of docs/operations.md, with what differs on one machine without passwords."""
    shown: dict[str, Any] = yaml.safe_load(shown_in_operations("yaml"))
    shown["bootstrap"]["dcs"]["synchronous_mode"] = synchronous
    shown["bootstrap"]["dcs"]["maximum_lag_on_failover"] = _ANY_LAG
    account = {"username": ADMINISTRATOR}
    shown["postgresql"] |= {
        "authentication": {"superuser": account, "replication": account, "rewind": account},
        "pg_hba": ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"],
        "parameters": {"unix_socket_directories": "", "shared_buffers": "32MB"},
        "basebackup": [{"checkpoint": "fast"}],
    }
    return shown | {"watchdog": {"mode": "off"}}


def shown_in_operations(language: str) -> str:
    """Return the block of docs/operations.md in this language, so that what is shown is what runs."""
    text = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")
    (shown,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return str(shown)


@dataclass(frozen=True)
class Cluster:
    """The nodes. synchronous: whether a commit waits for a standby."""

    nodes: Sequence[Node]
    synchronous: bool

    def urls(self, database: str, *names: str) -> dict[str, str]:
        """Return an address of the cluster for each of two services.

        They try the nodes in opposite order, so that of two primaries each service finds another one.
        """
        return {name: self.url(database, backwards=bool(number)) for number, name in enumerate(names)}

    def url(self, database: str, *, backwards: bool = False) -> str:
        """The address of the cluster. backwards: a client tries the last node first."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:: -1 if backwards else 1])
        return f"postgresql://{OWNER}@{hosts}/{database}?target_session_attrs=read-write&connect_timeout=2"

    def primary(self) -> Node:
        """Return the primary of a whole cluster."""
        (found,) = (node for node in self.nodes if node.is_primary())
        return found

    def promoted(self, before: Node) -> tuple[Node, float]:
        """Wait until another node than `before` is a primary; return it, and the monotonic time."""
        others = [node for node in self.nodes if node is not before]
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            for node in others:
                if node.is_primary():
                    return node, time.monotonic()
            time.sleep(_LOOK_S)
        raise AssertionError(f"no standby was promoted within {_PATIENCE_S} s")

    def whole(self) -> None:
        """Continue and start whatever was disturbed, and wait until all nodes are there."""
        for node in self.nodes:
            node.signal_server(signal.SIGCONT)
            node.resume()
        deadline = time.monotonic() + _PATIENCE_S
        while not (state := self._state()).whole:
            if time.monotonic() > deadline:
                raise AssertionError(f"the cluster was not whole within {_PATIENCE_S} s: {state.members}")
            time.sleep(5 * _LOOK_S)

    def _state(self) -> "_State":
        for node in self.nodes:
            if found := node.asked("/cluster"):
                return _State(found["members"], self.synchronous)
        return _State([], self.synchronous)

    def new_database(self, name: str) -> None:
        """Create a database that the ordinary role owns."""
        with psycopg.connect(self.primary().url(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(OWNER))
            )


@dataclass(frozen=True)
class _State:
    members: list[dict[str, Any]]
    synchronous: bool

    @property
    def whole(self) -> bool:
        roles = sorted(member["role"] for member in self.members if member["state"] in {"running", "streaming"})
        standby = "sync_standby" if self.synchronous else "replica"
        lag = [member.get("lag") for member in self.members if member["role"] != "leader"]
        return roles == sorted(["leader", standby, "replica"]) and all(isinstance(behind, int) for behind in lag)


@contextmanager
def cluster(folder: Path, *, synchronous: bool = True) -> Iterator[Cluster]:
    """Run a cluster in a folder while the block lasts."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    with etcd.etcd(folder / "etcd") as store:
        common = configuration(synchronous=synchronous)
        nodes = [Node(f"node{number}", folder / f"node{number}", store, common) for number in range(1, _NODES + 1)]
        made = Cluster(nodes, synchronous)
        try:
            for node in nodes:
                node.start()
            made.whole()
            with psycopg.connect(made.primary().url(), autocommit=True) as connection:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(OWNER)))
            made.new_database("keyledger")
            yield made
        finally:
            for node in nodes:
                node.close()
            for node in nodes:
                shutil.rmtree(node.data, ignore_errors=True)
