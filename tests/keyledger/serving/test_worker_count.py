"""As many processes as the machine, the container and the database have room for."""

import os
import sys
from pathlib import Path

import pytest

from keyledger.serving import worker_count
from keyledger.serving.worker_count import MOST, cores, within_connections

# cores of the machine, cpu.max of the container, processes
QUOTAS = [
    (8, "max 100000", 8),
    (8, "200000 100000", 2),
    (8, "150000 100000", 2),
    (8, "50000 100000", 1),
    (2, "800000 100000", 2),
    (8, "strange", 8),
    (8, None, 8),
    (1, None, 1),
    (500, None, MOST),
]


@pytest.mark.parametrize(("machine", "quota", "expected"), QUOTAS)
def test_there_is_one_for_each_core_that_may_be_used(
    machine: int, quota: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(machine), raising=False)
    monkeypatch.setattr(worker_count, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(worker_count, "_QUOTA_V1", (tmp_path / "quota", tmp_path / "period"))
    if quota is not None:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert cores() == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("250000", 3)])
def test_the_quota_of_an_older_container_counts(
    quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(worker_count, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(worker_count, "_QUOTA_V1", (tmp_path / "quota", tmp_path / "period"))
    (tmp_path / "quota").write_text(quota)
    (tmp_path / "period").write_text("100000")
    assert cores() == expected


def test_a_system_that_does_not_bear_forks_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cores() == 1


def test_they_take_half_of_the_connections_of_the_database_at_most() -> None:
    assert within_connections(16, 100) == 4
    assert within_connections(2, 100) == 2
    assert within_connections(64, 500) == 22
    assert within_connections(4, 20) == 1
