"""The guided tour: what the service does, in steps over the REST API, each of which checks its claim.

Promises: a step shown as holding did hold; the tour fails if a response of the service or a table of the database
contains one of the keys in plain text. Every run uses new tenants, so it can be repeated on one database. The tour ends
at the first claim that does not hold.
"""

import time
from collections.abc import Iterator

from scripts.demo.tour_stage import Outcome, Stage, new_stage
from scripts.demo.tour_steps import STEPS

__all__ = ["STEPS", "Outcome", "Stage", "new_stage", "tour"]


def tour(stage: Stage) -> Iterator[Outcome]:
    """Run the steps and yield the outcome of each, up to the first whose claim does not hold."""
    for step in STEPS:
        started = time.monotonic()
        try:
            table, error = step.prove(stage), None
        except AssertionError as failure:
            table, error = None, str(failure)
        yield Outcome(step.claim, time.monotonic() - started, table, error)
        if error is not None:
            return
