"""One forgery of one kind on one honest log, and whether it ended as its kind must."""

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import psycopg

from tests.forgeries import events, projections, removals, rules, surroundings
from tests.forgeries.kinds import Kind, Must, Where
from tests.support.examination import Outcome
from tests.support.forger import Database, Forger, Row

MODULES = (events, projections, removals, rules, surroundings)
"""They fill the table `KINDS` when they are loaded."""
REFUSALS = ("42501", "23514", "P0001", "KL")
"""Of a right that is missing, of a constraint, and of the service's own functions."""
BY_ITSELF = frozenset({"start", "readyz", "checkpoint", "call"})


@dataclass
class Attempt:
    """A forgery. database: opens a connection of the forger. other: one to another ledger.

    abandoned: as in `Forger`.
    """

    kind: Kind
    chance: random.Random
    database: Callable[[], AbstractContextManager[Database]]
    other: Callable[[], AbstractContextManager[Database]]
    where: Where = field(default_factory=Where)
    refused: bool = False
    abandoned: Sequence[Row] = ()

    def forge(self) -> None:
        """Forge, or be refused by the database."""
        try:
            with self.database() as database, self.other() as elsewhere:
                self.where = self.kind.forge(Forger(database, self.chance, self.kind.by, elsewhere, self.abandoned))
        except psycopg.Error as error:
            if not (error.sqlstate or "").startswith(REFUSALS):
                raise
            self.refused = True

    def found_by(self, found: Outcome) -> str:
        """Return by whom the forgery was found where it is; "" by no one who counts."""
        counted = (one for one in found.findings if not self.kind.unaided or one.way in BY_ITSELF)
        return next((one.way for one in counted if self.where.fits(one)), "")

    def wrong(self, found: Outcome) -> str:
        """Return how the outcome differs from the one that the kind must have; "" if it does not."""
        if self.kind.must is Must.HARMLESS or self.refused:
            faults = {
                "it was found where it is not": any(not self.where.fits(finding) for finding in found.findings),
                "it holds up operators": bool(found.blocked),
                "it was refused, which its kind may not be": self.refused and not self.kind.refusable,
                "it was refused, and yet found": self.refused and bool(found.findings),
            }
        else:
            faults = {"it was not found where it is": not self.found_by(found)}
        quiet = not found.findings or self.kind.must is Must.HARMLESS
        faults["what calls use or auditors read changed"] = quiet and not found.changed_nothing
        faults["calls used another key"] = bool(found.used) and not self.kind.uses
        return "; ".join(fault for fault, found_so in faults.items() if found_so)

    def told(self, found: Outcome) -> str:
        """Describe a forgery and its outcome."""
        noticed = f"found {found.findings}, blocked {found.blocked}"
        return f"{self.kind}: forged at {self.where}, {noticed}, used {found.used}, believed {found.believed}"
