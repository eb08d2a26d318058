"""One node of a cluster: a Patroni agent and the PostgreSQL server that it looks after, on ports of their own.

Promises: the two can be killed and stopped apart from each other, which is how a machine fails in part. A stopped
process is one that does not answer and does not notice that time passes. `close` ends both, whatever state they are in.
PostgreSQL runs in a session of its own and is not our child process, so its pid file says where it is.
"""

import json
import os
import signal
import subprocess
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

from keyledger.embedded_postgres.binaries import Account, Programs, programs_for
from tests.prove.cluster.install import PATRONI
from tests.prove.cluster.processes import children_of, send
from tests.support.ports import free_port

ADMINISTRATOR, OWNER = "postgres", "keyledger"
_SHORTLY_S = 2


@dataclass
class Node:
    """One of them. The ports are those of PostgreSQL and of Patroni's REST interface."""

    name: str
    folder: Path
    store: str
    common: dict[str, Any]
    port: int = field(default_factory=free_port)
    rest: int = field(default_factory=free_port)
    _agent: "subprocess.Popen[bytes] | None" = None

    @property
    def data(self) -> Path:
        """The folder of the server's files."""
        return self.folder / "data"

    @cached_property
    def programs(self) -> Programs:
        """The programs of the embedded PostgreSQL."""
        return programs_for(self.data)

    def start(self) -> None:
        """Start the agent, which starts the server."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "patroni.yml").write_text(json.dumps(self._configuration(), indent=1), encoding="utf-8")
        account = self.programs.account
        if account is not None:
            for path in (self.folder, self.folder / "patroni.yml"):
                os.chown(path, account.uid, account.gid)
        self.folder.chmod(0o700)
        with (self.folder / "log").open("ab") as log:
            self._agent = subprocess.Popen(
                [*as_account(account), str(PATRONI), "patroni.yml"],
                cwd=self.folder,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _configuration(self) -> dict[str, Any]:
        here, rest = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.rest}"
        return {
            **self.common,
            "name": self.name,
            "restapi": {"listen": rest, "connect_address": rest},
            "etcd3": {"hosts": [self.store]},
            "postgresql": {
                **self.common["postgresql"],
                "listen": here,
                "connect_address": here,
                "data_dir": str(self.data),
                "bin_dir": str(self.programs.folder),
                "pgpass": str(self.folder / "pgpass"),
            },
        }

    def url(self, database: str = "postgres", user: str = ADMINISTRATOR) -> str:
        """The address of this server."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def is_primary(self) -> bool:
        """Whether the server answers as a primary."""
        with (
            suppress(psycopg.Error),
            psycopg.connect(self.url(), connect_timeout=_SHORTLY_S, options="-c statement_timeout=2s") as connection,
        ):
            row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
            return row is not None and not row[0]
        return False

    def asked(self, path: str) -> Any:
        """Return what the agent answers to a GET; None if it does not."""
        with (
            suppress(OSError, ValueError),
            urllib.request.urlopen(f"http://127.0.0.1:{self.rest}{path}", timeout=_SHORTLY_S) as answer,
        ):
            return json.load(answer)
        return None

    @property
    def postmaster(self) -> int | None:
        """The process id of the server; None while there is none."""
        with suppress(OSError, ValueError, IndexError):
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            os.kill(pid, 0)
            return pid
        return None

    def server(self) -> list[int]:
        """The process ids of the server, the postmaster's first."""
        postmaster = self.postmaster
        return [postmaster, *children_of(postmaster)] if postmaster else []

    def senders(self) -> list[int]:
        """The process ids of the server's WAL senders."""
        return [pid for pid in self.server()[1:] if b"walsender" in _command_line(pid)]

    def signal_agent(self, number: signal.Signals) -> None:
        """Send a signal to the agent."""
        assert self._agent is not None
        send([self._agent.pid], number)

    def signal_server(self, number: signal.Signals) -> None:
        """Send a signal to all processes of the server."""
        send(self.server(), number)

    def kill_server(self) -> None:
        """Kill all processes of the server, the postmaster first."""
        self.signal_server(signal.SIGKILL)

    def end_agent(self) -> None:
        """Kill the agent."""
        if self._agent is not None:
            self._agent.kill()
            self._agent.wait()
            self._agent = None

    def resume(self) -> None:
        """Continue the agent if it is stopped, and start it if it is gone."""
        if self._agent is None or self._agent.poll() is not None:
            self.start()
        else:
            self.signal_agent(signal.SIGCONT)

    def close(self) -> None:
        """Kill the agent and the server."""
        self.end_agent()
        self.signal_server(signal.SIGKILL)


def as_account(account: Account | None) -> list[str]:
    """Return what a command line begins with that runs as this account in place of root, nothing without one.

    PostgreSQL refuses root. The account keeps the right to enter every folder, because a clone of root and the Python
    of its environment are often where other accounts cannot go.
    """
    if account is None:
        return []
    who = [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
    return ["setpriv", *who, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]


def _command_line(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
