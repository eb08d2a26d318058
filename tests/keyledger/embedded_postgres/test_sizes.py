"""The embedded server takes a share of the machine, within bounds."""

from pathlib import Path

import pytest

from keyledger.embedded_postgres.sizes import memory_of, sizes, sizes_on

MB, GB = 1 << 20, 1 << 30
MACHINES = {
    "a small container": (100 * MB, 2 * GB, "32MB", "256MB"),
    "a small machine": (1 * GB, 20 * GB, "256MB", "1024MB"),
    "a large one": (64 * GB, 2000 * GB, "1024MB", "4096MB"),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_sizes_are_shares_within_bounds(machine: str) -> None:
    memory, disk, buffers, log = MACHINES[machine]
    assert sizes(memory, disk) == {"shared_buffers": buffers, "max_wal_size": log}


def test_the_limit_of_a_container_counts_as_its_memory(tmp_path: Path) -> None:
    limited, unlimited, absent = tmp_path / "limited", tmp_path / "unlimited", tmp_path / "absent"
    limited.write_text("104857600\n")
    unlimited.write_text("max\n")
    assert memory_of((absent, unlimited, limited)) == 100 * MB
    assert memory_of((absent, unlimited)) == memory_of(()) > 100 * MB
    assert sizes_on(tmp_path)["shared_buffers"].endswith("MB")
