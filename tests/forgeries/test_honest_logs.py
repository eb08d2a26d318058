"""No honest log is accused by any way of noticing a forgery.

Not after rotations, restores, erasures, replays and failovers. The part `honest-logs` of `make prove` grows more logs.
"""

from pathlib import Path

import pytest

from scripts.demo.stand_in_provider import StandInProvider
from tests.forgeries.honesty import grown_and_examined
from tests.support.effort import HONEST_LOGS
from tests.support.postgres import TemplatedServer


@pytest.mark.parametrize("number", range(HONEST_LOGS))
def test_no_honest_log_is_accused(postgres_server: TemplatedServer, tmp_path: Path, number: int) -> None:
    with StandInProvider(accepted=lambda key: True) as provider:
        trial = grown_and_examined(postgres_server, tmp_path / "log", provider, f"honest {number}")
    assert not trial.accused
