"""Services on one embedded PostgreSQL, as an operator without a database team runs them, and its whole examination.

Promises: the services have one DATA_DIR and no DATABASE_URL, so the first to start also starts the server, and each
looks after it. Services and server are processes that can be killed one by one or all at once.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from keyledger import embedded_postgres
from keyledger.embedded_postgres import postmaster
from tests.prove.check import Read, check
from tests.prove.cluster.processes import children_of, send
from tests.prove.ledger import commands_of
from tests.prove.part import Counts
from tests.prove.services import changes_in
from tests.support.native_provider import NativeProvider
from tests.support.neutral import inheritable
from tests.support.places import REPOSITORY
from tests.support.service import DIRECT_MODELS, ServiceProcess, environment

NAMES = ("first", "second")
_PATIENCE_S = 300


def settings_of(data_dir: Path) -> dict[str, str]:
    """The settings of every service and command on the embedded server of a folder."""
    return environment(DATA_DIR=str(data_dir), AI_MODELS_FILE=DIRECT_MODELS)


@contextmanager
def embedded_services(
    data_dir: Path, folder: Path, provider: NativeProvider, names: Sequence[str] = NAMES, **more: str
) -> Iterator[dict[str, ServiceProcess]]:
    """Run services by these names. Their logs are added to files in the folder. more: settings."""
    running = {}
    settings = settings_of(data_dir) | {
        "OPENAI_API_BASE": provider.url,
        "ENDPOINT_ALLOWED_HOSTS": urlsplit(provider.url).netloc,
        **more,
    }
    with ExitStack() as stack:
        for name in names:
            process = ServiceProcess(settings, folder)
            stack.callback(_keep_log, process, folder / f"{name}.log")
            running[name] = stack.enter_context(process)
        yield running


def _keep_log(process: ServiceProcess, file: Path) -> None:
    with file.open("a", encoding="utf-8") as log:
        log.write(process.log)


def cluster_of(data_dir: Path) -> Path:
    """The folder of the server's files."""
    return data_dir.resolve() / "postgres"


def kill_server(data_dir: Path, *, whole: bool = False, how: signal.Signals = signal.SIGKILL) -> None:
    """End the server. whole: with all of its processes at once; otherwise they find out by themselves."""
    number = postmaster.find(cluster_of(data_dir))
    if number is not None:
        send([number, *(children_of(number) if whole else ())], how)


def starts_of(data_dir: Path) -> int:
    """How often the server came up, by its own log."""
    with suppress(FileNotFoundError):
        return (data_dir / "postgres.log").read_text(errors="replace").count("is ready to accept connections")
    return 0


def command(data_dir: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run `keyledger` with these words on the ledger of a folder."""
    return subprocess.run(
        [sys.executable, "-m", "scripts.main", *words],
        cwd=data_dir.parent,
        env={**inheritable(), "PYTHONPATH": str(REPOSITORY), **settings_of(data_dir)},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )


def examine(data_dir: Path, ledger: Path, reads: Sequence[Read]) -> Counts:
    """Compare the ledger with the log, then verify and replay the whole store, as operators do; no service runs."""
    counts = Counts()
    with embedded_postgres.start(data_dir) as server:
        counts.update(compared := check(commands_of(ledger), changes_in(server.dsn()), reads))
        counts.faults += compared.faults
        for words in (("verify",), ("replay", "--compare")):
            done = command(data_dir, *words)
            if done.returncode:
                counts.faults.append(f"keyledger {' '.join(words)} ended with {done.returncode}: {done.stderr[-500:]}")
    return counts
