"""Random forgeries of honest logs: each is found where it is, or changes nothing; and no honest log is accused.

The kinds are the table of `tests/forgeries`. A forger with a superuser's or the serving role's rights changes the
database of an honest log in a transaction, the product looks at it in that transaction (`tests.support.inspection`),
and it is rolled back, so the next forgery meets the honest log again. Each log is looked at before and after.
"""

import logging
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path

from projections.database.migration import migrate
from tests.forgeries.attempt import MODULES
from tests.forgeries.bench import Bench
from tests.forgeries.kinds import KINDS, Kind, Must
from tests.forgeries.scenes import Scene, scenes_on
from tests.prove.part import Counts, Part, Scale, nothing
from tests.support.postgres import templated_server

_SHOWN = 20


def run(scale: Scale, rng: random.Random, folder: Path) -> Counts:
    """Try every kind equally often, on as many honest logs as that takes."""
    counts = Counts(logs=0, forgeries=0, found=0, harmless=0, refused=0, wrong=0, accused=0)
    assert MODULES, "they fill the table"
    left, kinds = scale.of(len(KINDS), 4 * len(KINDS), 10_000), _shuffled(rng)
    of_one_log = scale.of(len(KINDS), len(KINDS), 250)
    with (
        unlogged(),
        templated_server(folder / "server", migrate) as server,
        scenes_on(server, folder / "logs", f"{rng.random()} ") as scenes,
    ):
        while left:
            some = min(left, of_one_log)
            scene = scenes.scene(counts["logs"])
            with ExitStack() as stack:
                bench = Bench(scene, scenes.role, stack)
                _look(bench, scene, rng, counts)
                for _ in range(some):
                    _forge(bench, next(kinds), rng, counts)
                _look(bench, scene, rng, counts)
            counts["logs"] += 1
            left -= some
    return counts


@contextmanager
def unlogged() -> Iterator[None]:
    """Keep the product from logging what it finds, which the counts say."""
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _shuffled(rng: random.Random) -> Iterator[Kind]:
    kinds = list(KINDS)
    rng.shuffle(kinds)
    return cycle(kinds)


def _look(bench: Bench, scene: Scene, rng: random.Random, counts: Counts) -> None:
    """Look at the log as it is, with nothing forged."""
    found = bench.look(rng)
    if found.findings or found.blocked or not found.changed_nothing:
        counts["accused"] += 1
        counts.faults.append(f"an honest log was accused: {found}, after {scene.log.happened}")


def _forge(bench: Bench, kind: Kind, rng: random.Random, counts: Counts) -> None:
    """Forge, look, take it back, and count the outcome."""
    counts["forgeries"] += 1
    tried = bench.forge(kind, rng)
    if tried.wrong:
        counts["wrong"] += 1
        if counts["wrong"] <= _SHOWN:
            counts.faults.append(str(tried))
    elif tried.attempt.refused:
        counts["refused"] += 1
    elif kind.must is Must.HARMLESS:
        counts["harmless"] += 1
    else:
        counts["found"] += 1
        counts[f"by {tried.attempt.found_by(tried.found)}"] += 1


PART = Part(
    "forgeries",
    1,
    "random forgeries by a superuser and by the serving role are found where they are, or change nothing",
    nothing,
    run,
    quick=True,
)
