"""No honest log is accused: not after rotations, restores, replays and failovers, by any way of noticing a forgery."""

import random
from contextlib import ExitStack
from pathlib import Path

import pytest

from scripts.demo.stand_in_provider import StandInProvider
from tests.support.deployment import PROVIDERS
from tests.support.effort import HONEST_LOGS
from tests.support.examination import examine, honest_view
from tests.support.honest_log import TENANTS, honest_log
from tests.support.postgres import TemplatedServer

PARTS = 5
"""Tests that share the logs, so that they run on all cores."""


@pytest.mark.parametrize("part", range(PARTS))
def test_no_honest_log_is_accused(postgres_server: TemplatedServer, tmp_path: Path, part: int) -> None:
    with StandInProvider(accepted=lambda key: True) as provider:
        for number in range(part, HONEST_LOGS, PARTS):
            chance, folder = random.Random(f"honest {number}"), tmp_path / str(number)
            with ExitStack() as stack:
                log = honest_log(postgres_server, stack, folder, chance, provider)
                log.grow(chance.randint(1, 5))
                places = {(tenant, provider) for tenant in TENANTS for provider in PROVIDERS}
                calls = {place: log.expected(place) for place in sorted(places)}
                honest = honest_view(log.deployment, calls, folder)
                found = examine(log.deployment, honest, folder)
            assert found.findings == [], (number, log.happened)
            assert (found.used, found.believed) == ({}, []), (number, log.happened)
