"""The embedded PostgreSQL ends in every way, while services use it: it comes back by itself, and loses nothing.

Two services on one DATA_DIR under load. The server is killed or asked to end: one of the services starts it again, and
both write within seconds. Everything is killed at once and started again, as after a power cut, with the lock files as
they were left, cut off, full of garbage or naming a stranger. All workers are killed with the server. What an operator
stops stays stopped. Folders with odd names serve, too, and a tiny `/dev/shm` is named.
"""

import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from keyledger import embedded_postgres
from keyledger.embedded_postgres import postmaster
from tests.prove.client import Client
from tests.prove.cluster.processes import children_of, send
from tests.prove.embedded_services import (
    cluster_of,
    command,
    embedded_services,
    examine,
    kill_server,
    settings_of,
    starts_of,
)
from tests.prove.ledger import Ledger
from tests.prove.part import Counts, Part, Scale, nothing
from tests.prove.scene import AGAIN_S, Scene
from tests.scripts.process import running
from tests.support.mounts import said_by_a_start, why_no_mounts
from tests.support.native_provider import native_provider

_SETTLE_S = 1.0
_STOPPED_S = 4.0
_ENDS: dict[str, Callable[[Path], None]] = {
    "the postmaster was killed": kill_server,
    "all of its processes were killed": lambda data_dir: kill_server(data_dir, whole=True),
    "an immediate end was asked for": lambda data_dir: kill_server(data_dir, how=signal.SIGQUIT),
    "an orderly end was asked for": lambda data_dir: kill_server(data_dir, how=signal.SIGINT),
}
_ODD = ("with spaces and 'quotes'", "кириллица и 漢字", 'a "$HOME" 100% \\ ; &', "long" * 38)


def run(scale: Scale, rng: random.Random, folder: Path) -> Counts:
    """End the server in every way, then cut the power, then the rest; examine the store at the end."""
    counts = Counts()
    with Ledger(folder / "ledger") as ledger:
        scene = Scene(folder, ledger, rng, counts, [])
        _ends(scene, scale.of(4, 16, 400))
        _power_cuts(scene, scale.of(2, len(_TAMPERINGS), 10 * len(_TAMPERINGS)))
        for _ in range(scale.of(0, 1, 10)):
            _workers(scene)
        _stopped_on_purpose(scene)
    examined = examine(scene.data_dir, folder / "ledger", scene.reads)
    counts.update(examined)
    counts.faults += examined.faults
    for name in _ODD[: scale.of(1, len(_ODD), len(_ODD))]:
        _odd_path(folder, name, counts)
    _tiny_shared_memory(folder, counts)
    return counts


def _ends(scene: Scene, times: int) -> None:
    before = starts_of(scene.data_dir)
    with scene.load() as (load, _):
        for number in range(times):
            name = list(_ENDS)[number % len(_ENDS)]
            time.sleep(scene.rng.uniform(0.2, 2 * _SETTLE_S))
            began = time.monotonic()
            _ENDS[name](scene.data_dir)
            scene.counts["server ended"] += 1
            if not scene.written_again(load, began):
                scene.counts.faults.append(f"no service wrote {AGAIN_S:.0f} s after this: {name} (number {number})")
                return
    starts = starts_of(scene.data_dir) - before
    if starts > times + 1:
        scene.counts.faults.append(f"the server was started {starts} times for {times} ends")


def _power_cuts(scene: Scene, times: int) -> None:
    for number in range(times):
        name = list(_TAMPERINGS)[number % len(_TAMPERINGS)]
        with scene.load() as (load, cut):
            if not scene.written_again(load, time.monotonic()):
                scene.counts.faults.append(f"no service wrote after power cut {number}")
                return
            time.sleep(scene.rng.uniform(0.2, 2 * _SETTLE_S))
            cut()
        time.sleep(_SETTLE_S / 2)  # a service that died last may have started the server once more
        kill_server(scene.data_dir, whole=True)
        with subprocess.Popen(["sleep", "60"]) as stranger:
            _TAMPERINGS[name](cluster_of(scene.data_dir), stranger.pid)
            embedded_postgres.start(scene.data_dir).leave()
            if stranger.poll() is not None:
                scene.counts.faults.append(f"a stranger was ended by the start after this: {name}")
            stranger.kill()
        scene.counts["power cuts"] += 1


def _name(file: Path, number: int) -> None:
    rest = file.read_text(errors="replace").split("\n")[1:] if file.exists() else []
    file.write_text("\n".join([str(number), *rest]))


_TAMPERINGS: dict[str, Callable[[Path, int], None]] = {
    "nothing was changed": lambda cluster, stranger: None,
    "the pid file names a stranger": lambda cluster, stranger: _name(cluster / "postmaster.pid", stranger),
    "the pid file is garbage": lambda cluster, stranger: _write(cluster / "postmaster.pid", b"\xff\x00garbage\n\n\n"),
    "the pid file is empty": lambda cluster, stranger: _write(cluster / "postmaster.pid", b""),
    "the pid file is gone": lambda cluster, stranger: (cluster / "postmaster.pid").unlink(missing_ok=True),
    "the socket's lock names a stranger": lambda cluster, stranger: _name(
        cluster / f"{postmaster.socket_of(cluster).name}.lock", stranger
    ),
}


def _write(file: Path, content: bytes) -> None:
    """Write into the file that is there, so that it keeps its owner."""
    if file.exists():
        file.write_bytes(content)


def _workers(scene: Scene) -> None:
    """Kill the server together with every worker of a service; its parent lives."""
    arguments = ("serve", "--port", "0", "--workers", "2")
    with running(scene.folder, *arguments, env=settings_of(scene.data_dir)) as service:
        client = Client("workers", service.wait_for(r"serving on (http://\S+)"))
        scene.until_acknowledged(client)
        kill_server(scene.data_dir, whole=True)
        send(children_of(service.popen.pid), signal.SIGKILL)
        scene.counts["workers killed with the server"] += 1
        if not scene.until_acknowledged(client):
            scene.counts.faults.append(
                f"{' '.join(arguments)} did not write after its workers and the server were killed"
            )
        client.close()
        service.terminate()


def _stopped_on_purpose(scene: Scene) -> None:
    with scene.load() as (load, _):
        scene.written_again(load, time.monotonic())
        starts = starts_of(scene.data_dir)
        _keyledger(scene, "database", "stop")
        began = time.monotonic()
        time.sleep(_STOPPED_S)
        if starts_of(scene.data_dir) != starts:
            scene.counts.faults.append("a server that was stopped on purpose was started again")
        said = [one.text for one in load.answers.since(began) if one.action == "readyz" and one.status == 503]
        if not any("keyledger database stop" in text for text in said):
            scene.counts.faults.append(f"/readyz did not say that the server was stopped on purpose: {said[-1:]}")
        again = time.monotonic()
        _keyledger(scene, "database", "start")
        if not scene.written_again(load, again):
            scene.counts.faults.append("no service wrote after `keyledger database start`")
        kill_server(scene.data_dir)
        if not scene.written_again(load, time.monotonic()):
            scene.counts.faults.append("a kept server was not started again")
    if embedded_postgres.status(scene.data_dir) != "running":
        scene.counts.faults.append("a kept server did not outlive its services after it had been started again")
    _keyledger(scene, "database", "stop")
    scene.counts["stopped on purpose"] += 1


def _keyledger(scene: Scene, *words: str) -> None:
    done = command(scene.data_dir, *words)
    if done.returncode:
        scene.counts.faults.append(f"keyledger {' '.join(words)} ended with {done.returncode}: {done.stderr[-300:]}")


def _odd_path(folder: Path, name: str, counts: Counts) -> None:
    """Serve from a folder with an odd name, and have the server killed there."""
    data_dir = folder / name / "data"
    data_dir.parent.mkdir()
    counts["odd paths"] += 1
    with (
        Ledger(folder / f"ledger-{counts['odd paths']}", "odd-") as ledger,
        native_provider() as provider,
        embedded_services(data_dir, folder, provider, ["odd"]) as services,
    ):
        scene = Scene(folder, ledger, random.Random(name), counts, [])
        client = Client("odd", services["odd"].url)
        written = [scene.until_acknowledged(client)]
        kill_server(data_dir)
        written.append(scene.until_acknowledged(client))
        client.close()
    if not all(written):
        counts.faults.append(f"the service did not write in the folder {name!r}, before or after a kill: {written}")
    counts.faults += examine(data_dir, ledger.path, []).faults


def _tiny_shared_memory(folder: Path, counts: Counts) -> None:
    if why_no_mounts():
        return
    for size in ("size=4k", "size=64k", "size=1m"):
        counts["tiny /dev/shm"] += 1
        said = said_by_a_start(folder / "tiny", Path("/dev/shm"), size)
        if "shared memory in /dev/shm is too small: give it 64 MB" not in said:
            counts.faults.append(f"a first start with a /dev/shm of {size} said: {said}")


PART = Part(
    "embedded",
    4,
    "the embedded PostgreSQL comes back by itself however it ends, once, and nothing acknowledged is lost",
    nothing,
    run,
    quick=False,
)
