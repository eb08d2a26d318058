"""Random forgeries of honest logs: each is found where it is, or changes nothing; and no honest log is accused.

The kinds are the table of `tests/forgeries`. A forger with a superuser's or the serving role's rights changes the
database of an honest log in a transaction, the product looks at it in that transaction (`tests.support.inspection`),
and it is rolled back, so the next forgery meets the honest log again. Each log is looked at before and after.
"""

import logging
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from itertools import cycle
from pathlib import Path

from psycopg import sql

from keyledger.store_attestation import RoleRule
from projections.database.migration import migrate
from tests.forgeries.attempt import MODULES, Attempt
from tests.forgeries.kinds import KINDS, Kind, Must
from tests.forgeries.scenes import Scene, scenes_on
from tests.prove.part import Counts, Part, Scale, nothing
from tests.support.examination import Outcome
from tests.support.forger import Access, connected
from tests.support.inspection import Inspector
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
                bench = _Bench(scene, scenes.role, stack)
                bench.look(rng, counts)
                for _ in range(some):
                    bench.forge(next(kinds), rng, counts)
                bench.look(rng, counts)
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


class _Bench:
    """An honest log on which forgeries are tried, one after the other."""

    def __init__(self, scene: Scene, role: str, stack: ExitStack) -> None:
        """stack: closes what the bench opens."""
        url = scene.log.deployment.url
        self._access = Access(url, role)
        self._happened = scene.log.happened
        self._connection = stack.enter_context(connected(url))
        self._connection.prepare_threshold = None  # a forgery may change what a plan relies on
        self._abandoned = scene.abandoned
        self._elsewhere = stack.enter_context(connected(scene.other.url))
        self._inspector = Inspector(self._connection, scene.log.deployment)
        stack.callback(self._inspector.close)
        with self._connection.transaction():
            self._inspector.catch_up()
            self._shown = self._inspector.shown(scene.calls)

    def look(self, rng: random.Random, counts: Counts) -> None:
        """Look at the log as it is, with nothing forged."""
        with self._connection.transaction(force_rollback=True):
            found = self._inspector.inspect(self._shown, rng)
        if found.findings or found.blocked or not found.changed_nothing:
            counts["accused"] += 1
            counts.faults.append(f"an honest log was accused: {found}, after {self._happened}")

    def forge(self, kind: Kind, rng: random.Random, counts: Counts) -> None:
        """Forge, look, and take it back."""
        attempt = Attempt(
            kind,
            rng,
            partial(self._access.taken, kind.by, self._connection),
            lambda: nullcontext(self._elsewhere),
            abandoned=self._abandoned,
        )
        counts["forgeries"] += 1
        found = Outcome()
        try:
            with self._connection.transaction(force_rollback=True):
                attempt.forge()
                found = self._looked(attempt, rng)
            wrong = attempt.wrong(found)
        except Exception as error:  # noqa: BLE001  an error that nothing in the product expects finds nothing
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            counts["wrong"] += 1
            if counts["wrong"] <= _SHOWN:
                counts.faults.append(f"{wrong}: {attempt.told(found)}")
        elif attempt.refused:
            counts["refused"] += 1
        elif kind.must is Must.HARMLESS:
            counts["harmless"] += 1
        else:
            counts["found"] += 1
            counts[f"by {attempt.found_by(found)}"] += 1

    def _looked(self, attempt: Attempt, rng: random.Random) -> Outcome:
        """Look with the rights of the serving role, or with those of a superuser."""
        rule = RoleRule.REFUSED if attempt.kind.restricted else RoleRule.IGNORED
        if attempt.kind.restricted or rng.random() < 0.5:
            role = sql.Identifier(self._access.role)
            self._connection.execute(sql.SQL("SET LOCAL SESSION AUTHORIZATION {}").format(role))
        return self._inspector.inspect(self._shown, rng, lambda found: bool(attempt.found_by(found)), rule)


PART = Part(
    "forgeries",
    1,
    "random forgeries by a superuser and by the serving role are found where they are, or change nothing",
    nothing,
    run,
    quick=True,
)
