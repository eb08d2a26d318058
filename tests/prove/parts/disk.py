"""Disks fill up and become read-only under services that work, and get room again: nothing acknowledged is lost.

The disks are small file systems in memory: that of the embedded server's tables; that of its log of changes, whose end
makes PostgreSQL end itself; the one disk of everything, where not even PostgreSQL's last words find room; and that of a
service's DATA_DIR while the database is elsewhere. Each time the services have to work again by themselves within
seconds of the disk having room.
"""

import errno
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from keyledger import embedded_postgres
from tests.prove.client import Answer
from tests.prove.embedded_services import NAMES, cluster_of, examine
from tests.prove.findings import judge_answers
from tests.prove.ledger import DELETE, SET, Ledger
from tests.prove.load import Load
from tests.prove.part import Counts, Part, Scale
from tests.prove.scene import AGAIN_S, Scene
from tests.prove.services import services
from tests.support.mounts import mounted, remount, why_no_mounts
from tests.support.native_provider import native_provider

_WORK_S = 2.0
_FULL_S = 5.0
_ROOM = 1024 * 1024


def run(scale: Scale, rng: random.Random, folder: Path) -> Counts:
    """Fill each disk in turn."""
    counts = Counts()
    for name, case in _CASES.items():
        (folder / name).mkdir()
        with Ledger(folder / name / "ledger", f"{name}-") as ledger:
            scene = Scene(folder / name, ledger, rng, counts)
            case(scene, scale.of(1, 3, 30))
    return counts


def _tables(scene: Scene, times: int) -> None:
    """The disk of the tables: no table can grow, so changes are refused; calls need no room."""
    with mounted(scene.data_dir, "size=160m,mode=700"):
        _create(scene, log_of_changes=scene.folder / "elsewhere")
        with scene.load() as (load, _):
            for _ in range(times):
                with _filled(scene, scene.data_dir) as began:
                    time.sleep(_FULL_S)
                calls = [one for one in _during(load, began) if one.action == "call"]
                if not any(one.succeeded for one in calls):
                    scene.counts.faults.append("no call was served while no table could grow")
                _works_again(scene, load, "the disk of the tables was full")
                scene.counts["tables full"] += 1
        _examine(scene)


def _log_of_changes(scene: Scene, times: int) -> None:
    """The disk of the log of changes: PostgreSQL ends itself, and has to be started when there is room again."""
    with mounted(scene.folder / "changes", "size=80m,mode=755") as changes:
        _create(scene, log_of_changes=changes / "pg_wal")
        _end_on_full_disk(scene, changes, times)


def _one_disk(scene: Scene, times: int) -> None:
    """The disk of everything: PostgreSQL ends itself and cannot say why."""
    with mounted(scene.data_dir, "size=160m,mode=700"):
        _end_on_full_disk(scene, scene.data_dir, times)


def _end_on_full_disk(scene: Scene, disk: Path, times: int) -> None:
    with scene.load() as (load, _):
        for _ in range(times):
            with _filled(scene, disk) as began:
                _begin_next_file(scene)
                deadline = time.monotonic() + 2 * AGAIN_S
                while not (named := _says_full(load, began)) and time.monotonic() < deadline:
                    time.sleep(0.1)
            if not named:
                scene.counts.faults.append("/readyz did not name the full disk of a server that had ended")
            _works_again(scene, load, "PostgreSQL had ended on a full disk")
            scene.counts["server ended on a full disk"] += 1
    _examine(scene)


def _data_dir(scene: Scene, times: int) -> None:
    """The disk of one service's DATA_DIR, full and then read-only, while the database has room."""
    first = scene.folder / NAMES[0]
    with (
        mounted(first, "size=8m,mode=700"),
        embedded_postgres.start(scene.data_dir) as server,
        native_provider() as provider,
    ):
        addresses = dict.fromkeys(NAMES, server.dsn())
        with services(addresses, scene.folder, provider) as running:
            urls = {name: service.url for name, service in running.items()}
            with Load(urls, provider, scene.ledger, scene.rng, writers=6, readers=2) as load:
                for _ in range(times):
                    with _filled(scene, first) as began:
                        time.sleep(_FULL_S)
                    _kept_working(scene, load, began, "was full")
                    time.sleep(_WORK_S)
                    remount(first, "ro")
                    began = time.monotonic()
                    time.sleep(_FULL_S)
                    remount(first, "rw")
                    _kept_working(scene, load, began, "was read-only")
                    scene.counts["DATA_DIR full or read-only"] += 2
            scene.reads += load.reads()
            judge_answers(load.answers.since(0), scene.counts)
    _examine(scene)


def _create(scene: Scene, log_of_changes: Path) -> None:
    """Create the cluster, with its log of changes in another place."""
    embedded_postgres.start(scene.data_dir).leave()
    kept = cluster_of(scene.data_dir) / "pg_wal"
    shutil.copytree(kept, log_of_changes)
    owner = kept.stat()
    for path in (log_of_changes, *log_of_changes.rglob("*")):
        shutil.chown(path, owner.st_uid, owner.st_gid)
    shutil.rmtree(kept)
    kept.symlink_to(log_of_changes.resolve())


@contextmanager
def _filled(scene: Scene, disk: Path) -> Iterator[float]:
    """Work for a while, then fill a disk until the block ends. Gives the moment from which it was full."""
    time.sleep(scene.rng.uniform(_WORK_S / 2, _WORK_S))
    ballast = disk / "ballast"
    try:
        _fill(ballast)
        yield time.monotonic()
        _fill(ballast)  # what was given back meanwhile
    finally:
        ballast.unlink()


def _fill(ballast: Path) -> None:
    size = _ROOM
    with ballast.open("ab", buffering=0) as file:
        while size:
            try:
                file.write(bytes(size))
            except OSError as full:
                if full.errno != errno.ENOSPC:
                    raise
                size //= 2


def _begin_next_file(scene: Scene) -> None:
    """Make PostgreSQL begin the next file of its log of changes, for which there is no room."""
    for _ in range(10):
        try:
            with psycopg.connect(embedded_postgres.address(scene.data_dir) or "", autocommit=True) as connection:
                connection.execute("SELECT pg_logical_emit_message(true, 'prove', 'x'), pg_switch_wal()")
        except psycopg.Error:
            return


def _says_full(load: Load, began: float) -> bool:
    return any(one.action == "readyz" and "the disk is full" in one.text for one in _during(load, began))


def _during(load: Load, began: float) -> list[Answer]:
    return load.answers.since(began)


def _kept_working(scene: Scene, load: Load, began: float, how: str) -> None:
    changes = [one for one in _during(load, began) if one.action in {SET, DELETE}]
    for name in NAMES:
        if not any(one.by == name and one.succeeded for one in changes):
            scene.counts.faults.append(f"{name} acknowledged no change while the DATA_DIR of {NAMES[0]} {how}")
    _works_again(scene, load, f"the DATA_DIR of {NAMES[0]} {how}")


def _works_again(scene: Scene, load: Load, after: str) -> None:
    """Wait until both services write and are ready again."""
    began = time.monotonic()
    if not scene.written_again(load, began):
        scene.counts.faults.append(f"a service did not write {AGAIN_S:.0f} s after this: {after}")
    deadline, missing = time.monotonic() + AGAIN_S, set(NAMES)
    while missing and time.monotonic() < deadline:
        time.sleep(0.1)
        missing -= {one.by for one in _during(load, began) if one.action == "readyz" and one.succeeded}
    for name in sorted(missing):
        said = [one.text for one in _during(load, began) if one.action == "readyz" and one.by == name]
        scene.counts.faults.append(f"{name} was not ready {AGAIN_S:.0f} s after this: {after}; it says {said[-1:]}")


def _examine(scene: Scene) -> None:
    examined = examine(scene.data_dir, scene.ledger.path, scene.reads)
    scene.counts.update(examined)
    scene.counts.faults += examined.faults


_CASES = {"tables": _tables, "log-of-changes": _log_of_changes, "one-disk": _one_disk, "data-dir": _data_dir}

PART = Part(
    "disk",
    4,
    "a disk that fills up or becomes read-only loses nothing, and the services recover when it has room",
    why_no_mounts,
    run,
    quick=False,
)
