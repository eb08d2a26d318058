"""A data directory of the test's own, in memory where there is room, and the server in it, stopped at the end."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyledger import embedded_postgres
from tests.support import memory


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
