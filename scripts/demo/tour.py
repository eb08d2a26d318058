"""The guided tour: the whole job in named steps over the REST API, each of which checks what it claims.

Promises: a step that is shown as holding did hold; no answer of the service, and no table of the database, held one of
the keys in clear, or the tour fails. Every run uses new tenants, so it can be repeated on one database.
Refuses: to go on after a step that does not hold.
"""

import time
from collections.abc import Iterator

from scripts.demo.tour_stage import Outcome, Stage, new_stage
from scripts.demo.tour_steps import STEPS

__all__ = ["STEPS", "Outcome", "Stage", "new_stage", "tour"]


def tour(stage: Stage) -> Iterator[Outcome]:
    """Take the steps one by one. Ends after the first whose claim does not hold."""
    for step in STEPS:
        started = time.monotonic()
        try:
            table, fault = step.prove(stage), None
        except AssertionError as failure:
            table, fault = None, str(failure)
        yield Outcome(step.claim, time.monotonic() - started, table, fault)
        if fault is not None:
            return
