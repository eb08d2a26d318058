"""Random operations on two nodes, compared with a model outside the service."""

import random
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.errors import HypothesisException
from hypothesis.reporting import with_reporter
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.prove.model.machine import Machine
from tests.prove.model.world import World
from tests.prove.part import Counts, Part, Scale, nothing

_EXAMPLES, _STEPS = 4, 120
_SHOWN = 6_000  # characters of the shrunk operations
_SETTINGS = settings(
    max_examples=_EXAMPLES,
    stateful_step_count=_STEPS,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
    print_blob=False,
    verbosity=Verbosity.normal,
)


def run(scale: Scale, rng: random.Random, folder: Path) -> Counts:
    """Run batches until the time is over. A batch that fails ends the part, since the nodes may be in any state."""
    ends = time.monotonic() + scale.of(60, 185, 4 * 3600)
    counts = Counts(operations=0, examples=0, rotations=0, wrong=0)
    world = World(folder, rng)
    try:
        while time.monotonic() < ends and not counts.faults:
            counts.faults += _batch(world, rng.randrange(2**32))
            counts["examples"] += _EXAMPLES
        counts["operations"], counts["rotations"] = world.operations, len(world.keys) - 1
        counts["wrong"] = len(counts.faults)
        counts.faults += world.verified()
    finally:
        world.close()
    return counts


def _batch(world: World, number: int) -> Sequence[str]:
    """Run some examples; return what was found."""
    return report_of(type("OnTwoNodes", (Machine,), {"world": world}), number)


def report_of(machine: type[RuleBasedStateMachine], number: int, asked: settings = _SETTINGS) -> Sequence[str]:
    """Run examples of a machine; return what was found, with the first failure as it was when it happened.

    Hypothesis shows another error in its place where the same operations did not lead to it again.
    """
    said: list[object] = []
    first: list[str] = []

    def teardown(self: RuleBasedStateMachine) -> None:
        failure = sys.exc_info()[1]
        if isinstance(failure, Exception) and not isinstance(failure, HypothesisException) and not first:
            first.append("".join(traceback.format_exception(failure))[-_SHOWN:])
        machine.teardown(self)

    noting = seed(number)(type(machine.__name__, (machine,), {"teardown": teardown}))
    try:
        with with_reporter(said.append):
            run_state_machine_as_test(noting, settings=asked)
    except Exception as found:  # noqa: BLE001 - whatever it is, its operations are to be shown
        steps = "\n".join([*map(str, said), *getattr(found, "__notes__", [])])
        inner = [f"{type(one).__name__}: {one}" for one in getattr(found, "exceptions", ())]  # it did not happen again
        return ["\n".join([f"{type(found).__name__}: {found}", *inner, *first, steps[-_SHOWN:]])]
    return []


PART = Part(
    "model",
    3.5,
    "random changes, calls, reads of the past, rotations, restores, kills and wrong clocks on two nodes give the"
    " answers of a model outside the service",
    nothing,
    run,
    quick=True,
)
