"""This program and the one of the commit before it share a database, in both directions."""

from pathlib import Path

import pytest

from scripts.demo.stand_in_provider import StandInProvider
from tests.support.releases import BEFORE, RollingUpgrade, missing, tree_of


@pytest.mark.long
@pytest.mark.skipif(bool(missing(BEFORE)), reason=missing(BEFORE))
def test_a_database_is_upgraded_served_by_both_and_taken_back(empty_database_url: str, tmp_path: Path) -> None:
    with StandInProvider(accepted=lambda key: True) as provider:
        upgrade = RollingUpgrade(empty_database_url, tree_of(BEFORE, tmp_path / "earlier"), tmp_path, provider, 6)
        upgrade.run()
    assert upgrade.found == []
    assert upgrade.acknowledged
