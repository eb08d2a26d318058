"""Earlier programs and this one on one database: upgraded, served by both, taken back and upgraded again."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from projections.database.migration import migrate
from scripts.demo.stand_in_provider import StandInProvider
from tests.prove.part import Counts, Part, Scale
from tests.support.postgres import templated_server
from tests.support.releases import BEFORE, FORMAT, RollingUpgrade, missing, tree_of


def run(scale: Scale, rng: random.Random, folder: Path) -> Counts:
    """Go through a rolling upgrade from each earlier program."""
    counts = Counts(programs=0, acknowledged=0, calls=0, taken_back=0)
    with templated_server(folder, migrate) as server, StandInProvider(accepted=lambda key: True) as provider:
        for name, commit in (("format", FORMAT), ("before", BEFORE)):
            home = folder / name
            home.mkdir()
            with server.empty_database() as url, _named(commit, counts):
                changes = scale.of(10, 40, 400) + rng.randrange(4)
                upgrade = RollingUpgrade(url, tree_of(commit, home / "earlier"), home, provider, changes)
                upgrade.run()
                counts["programs"] += 1
                counts["acknowledged"] += len(upgrade.acknowledged)
                counts["calls"] += upgrade.calls
                counts["taken_back"] += upgrade.served_again
                counts.faults += [f"from {commit}: {found}" for found in upgrade.found[:5]]
    return counts


@contextmanager
def _named(commit: str, counts: Counts) -> Iterator[None]:
    try:
        yield
    except AssertionError as failed:  # a service did not start
        counts.faults.append(f"from {commit}: {failed}")


PART = Part(
    "versions",
    2,
    "a database of the commit that made the format of events, and of the commit before this one, is upgraded, served by"
    " both programs, taken back and upgraded again",
    lambda: missing(FORMAT) or missing(BEFORE),
    run,
    quick=False,
)
