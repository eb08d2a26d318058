"""An honest log on which one forgery after the other is tried and taken back, in transactions on one connection.

The product looks at the store through the functions below its public face (`tests.support.inspection`): a tenth of the
time of an examination.
"""

import random
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial

from psycopg import sql

from keyledger.store_attestation import RoleRule
from tests.forgeries.attempt import Attempt
from tests.forgeries.kinds import Kind
from tests.forgeries.scenes import Scene
from tests.support.examination import Outcome
from tests.support.forger import Access, connected
from tests.support.inspection import Inspector


@dataclass(frozen=True)
class Tried:
    """A forgery that was taken back. wrong: how its outcome differs from the one that its kind must have, or ""."""

    attempt: Attempt
    found: Outcome
    wrong: str

    def __str__(self) -> str:
        return f"{self.wrong}: {self.attempt.told(self.found)}"


class Bench:
    """Forges on the log of a scene. No one else is connected to its database meanwhile."""

    def __init__(self, scene: Scene, role: str, stack: ExitStack) -> None:
        """role: the serving role. stack: closes what the bench opens."""
        url = scene.log.deployment.url
        self._access = Access(url, role)
        self._connection = stack.enter_context(connected(url))
        self._connection.prepare_threshold = None  # a forgery may change what a plan relies on
        self._abandoned = scene.abandoned
        self._elsewhere = stack.enter_context(connected(scene.other.url))
        self._inspector = Inspector(self._connection, scene.log.deployment)
        stack.callback(self._inspector.close)
        with self._connection.transaction():
            self._inspector.catch_up()
            self._shown = self._inspector.shown(scene.calls)

    def look(self, chance: random.Random) -> Outcome:
        """Look at the log as it is, with nothing forged."""
        with self._connection.transaction(force_rollback=True):
            return self._inspector.inspect(self._shown, chance)

    def forge(self, kind: Kind, chance: random.Random) -> Tried:
        """Forge, look, and take it back."""
        attempt = Attempt(
            kind,
            chance,
            partial(self._access.taken, kind.by, self._connection),
            lambda: nullcontext(self._elsewhere),
            abandoned=self._abandoned,
        )
        found = Outcome()
        try:
            with self._connection.transaction(force_rollback=True):
                attempt.forge()
                found = self._looked(attempt, chance)
            return Tried(attempt, found, attempt.wrong(found))
        except Exception as error:  # noqa: BLE001  an error that nothing in the product expects finds nothing
            return Tried(attempt, found, f"{type(error).__name__}: {error}")

    def _looked(self, attempt: Attempt, chance: random.Random) -> Outcome:
        """Look with the rights of the serving role, or with those of a superuser."""
        rule = RoleRule.REFUSED if attempt.kind.restricted else RoleRule.IGNORED
        if attempt.kind.restricted or chance.random() < 0.5:
            role = sql.Identifier(self._access.role)
            self._connection.execute(sql.SQL("SET LOCAL SESSION AUTHORIZATION {}").format(role))
        return self._inspector.inspect(self._shown, chance, lambda found: bool(attempt.found_by(found)), rule)
