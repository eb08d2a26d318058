"""Random honest logs, with rotations, restores, erasures and another node that takes over: none of them is accused.

Each log is grown by chance through the service and its commands (`tests.support.honest_log`), and then examined in each
way that finds a forgery: starts, readiness, calls, the audit, checkpoints, bundles, `keyledger verify`.
"""

import random
from collections import Counter
from pathlib import Path

from projections.database.migration import migrate
from scripts.demo.stand_in_provider import StandInProvider
from tests.forgeries.honesty import grown_and_examined
from tests.prove.part import Counts, Part, Scale, nothing
from tests.prove.parts.forgeries import unlogged
from tests.support.postgres import templated_server

_COUNTED = {
    "rotations": ("rotation", "retirement"),
    "restores": ("restore",),
    "erasures": ("erasure of a tenant", "erasure of a person"),
    "replays": ("replay",),
}
"""What is counted, and the names under which it happens."""


def run(scale: Scale, rng: random.Random, folder: Path) -> Counts:
    """Grow and examine logs, one after the other."""
    counts = Counts(logs=0, accused=0, **dict.fromkeys(_COUNTED, 0))
    with (
        unlogged(),
        templated_server(folder / "server", migrate) as server,
        StandInProvider(accepted=lambda key: True) as provider,
    ):
        for number in range(scale.of(5, 20, 1_000)):
            trial = grown_and_examined(server, folder / f"log-{number}", provider, f"{rng.random()}")
            happened = Counter(trial.happened)
            counts["logs"] += 1
            for word, names in _COUNTED.items():
                counts[word] += sum(happened[name] for name in names)
            if trial.accused:
                counts["accused"] += 1
                counts.faults.append(f"an honest log was accused: {trial.accused}")
    return counts


PART = Part(
    "honest-logs",
    5,
    "no honest log is accused, whatever was rotated, restored, erased or replayed in it",
    nothing,
    run,
    quick=False,
    only_long=True,
)
