"""A data directory of the test's own, in memory where there is room, and the server in it, stopped at the end.

A test's first start copies a cluster that was made once for all: making one takes half a second of processor time.
The tests of making one ask for `made_here`.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyledger import embedded_postgres
from keyledger.embedded_postgres import cluster
from keyledger.embedded_postgres.binaries import Programs, programs_for
from tests.support import memory

_make = cluster.create


@pytest.fixture(scope="session")
def made() -> Iterator[Path]:
    """A cluster that no server ran on."""
    with tempfile.TemporaryDirectory(dir=os.environ.get(memory.FOLDER)) as folder:
        Path(folder).chmod(0o711)  # the account of the server enters it
        place = Path(folder) / "postgres"
        _make(place, programs_for(place), durable=False)
        yield place


@pytest.fixture
def made_here() -> None:
    """Asked for by a test of the first start."""


@pytest.fixture(autouse=True)
def _copied(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "made_here" in request.fixturenames:
        return

    def copy(folder: Path, programs: Programs, *, durable: bool) -> None:
        if durable or folder.exists():
            _make(folder, programs, durable=durable)
            return
        made: Path = request.getfixturevalue("made")
        shutil.copytree(made, folder, copy_function=_owned_copy)
        for one in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            _own(made / one.relative_to(folder), one)

    monkeypatch.setattr(cluster, "create", copy)


def _owned_copy(source: str, target: str) -> str:
    shutil.copy2(source, target)
    _own(Path(source), Path(target))
    return target


def _own(source: Path, target: Path) -> None:
    """Give a copy the owner of what it was copied from."""
    of = source.stat()
    os.chown(target, of.st_uid, of.st_gid)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=os.environ.get(memory.FOLDER)) as folder:
        yield Path(folder) / "data"
        embedded_postgres.stop(Path(folder) / "data")


@pytest.fixture
def start(data_dir: Path) -> Iterator[Callable[[], embedded_postgres.EmbeddedPostgres]]:
    """Start or attach, and leave at the end of the test whatever was not left in it."""
    used: list[embedded_postgres.EmbeddedPostgres] = []

    def start() -> embedded_postgres.EmbeddedPostgres:
        used.append(embedded_postgres.start(data_dir, durable=False))
        return used[-1]

    yield start
    for server in used:
        server.leave()
