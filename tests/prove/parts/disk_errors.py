"""A disk fails to write through: PostgreSQL ends itself, no such commit is acknowledged, a replaced disk loses none.

The embedded server is started with a library that makes `fsync` and `fdatasync` fail on request; its services then find
it running, as they find any server. PostgreSQL must not continue after such a failure, because it cannot know what
reached the disk, so it ends itself. The services start it again without the library, as on a disk that was replaced.
"""

import random
import shutil
import subprocess
import time
from pathlib import Path
from unittest.mock import patch

from keyledger import embedded_postgres
from keyledger.embedded_postgres import cluster
from tests.prove.embedded_services import examine, starts_of
from tests.prove.ledger import Ledger
from tests.prove.part import Counts, Part, Scale
from tests.prove.scene import AGAIN_S, Scene

_SOURCE = Path(__file__).parents[1] / "broken_disk.c"
_WORK_S = 2.0


def run(scale: Scale, rng: random.Random, folder: Path) -> Counts:
    """Break the disk of a new server again and again, under the same services' load."""
    counts, library, switch = Counts(), folder / "broken_disk.so", folder / "broken"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl"], check=True)
    library.chmod(0o755)
    with Ledger(folder / "ledger") as ledger:
        scene = Scene(folder, ledger, rng, counts)
        for _ in range(scale.of(1, 4, 40)):
            _break(scene, {"LD_PRELOAD": str(library), "KEYLEDGER_BROKEN_DISK": str(switch)}, switch)
    examined = examine(scene.data_dir, folder / "ledger", scene.reads)
    counts.update(examined)
    counts.faults += examined.faults
    return counts


def _break(scene: Scene, environment: dict[str, str], switch: Path) -> None:
    with (
        patch.dict(cluster._ENVIRONMENT, environment),
        embedded_postgres.start(scene.data_dir),
        scene.load() as (load, _),
    ):
        time.sleep(scene.rng.uniform(_WORK_S / 2, _WORK_S))
        starts, began = starts_of(scene.data_dir), time.monotonic()
        switch.touch(0o644)
        deadline = began + AGAIN_S
        while starts_of(scene.data_dir) == starts and time.monotonic() < deadline:
            time.sleep(0.05)
        switch.unlink()
        if "PANIC" not in (scene.data_dir / "postgres.log").read_text(errors="replace"):
            scene.counts.faults.append("PostgreSQL did not end itself when the disk failed: the library had no effect")
        if not scene.written_again(load, time.monotonic()):
            scene.counts.faults.append(f"no service wrote {AGAIN_S:.0f} s after the disk had been replaced")
        scene.counts["disks broken"] += 1


def _missing() -> str:
    return "" if shutil.which("gcc") else "needs gcc (apt-get install gcc)"


PART = Part(
    "disk-errors",
    2,
    "no commit is acknowledged that the disk failed to keep, and the server is started again when it can",
    _missing,
    run,
    quick=False,
)
