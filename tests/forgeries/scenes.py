"""Honest logs for forgers: each with everything in it, and with another ledger under the same keys to copy from."""

import random
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
from psycopg import sql

from scripts.demo.stand_in_provider import StandInProvider
from tests.support.deployment import PROVIDERS, Deployment, Place
from tests.support.forger import Access, By, Row, connected
from tests.support.honest_log import TENANTS, HonestLog, back_up, honest_log, restore
from tests.support.places import REPOSITORY
from tests.support.postgres import TemplatedServer

PLACES: tuple[Place, ...] = tuple(sorted((tenant, provider) for tenant in TENANTS for provider in PROVIDERS))
"""Everything that an honest log may have a credential for."""


@dataclass
class Scene:
    """An honest deployment that no node serves at the moment.

    abandoned: events of a part of its log that a restore gave up.
    """

    log: HonestLog
    other: Deployment
    abandoned: Sequence[Row]

    @property
    def calls(self) -> dict[Place, str]:
        """The key that a call of each place has to use."""
        return {place: self.log.expected(place) for place in PLACES}


@dataclass
class Scenes:
    """Honest logs by number, made when they are first needed. role: the serving role of all of them."""

    server: TemplatedServer
    provider: StandInProvider
    folder: Path
    role: str
    stack: ExitStack
    seed: str = ""
    made: dict[int, Scene] = field(default_factory=dict)

    def scene(self, number: int) -> Scene:
        """Return an honest log that was grown by chance, the same for each number."""
        if number not in self.made:
            self.made[number] = self._make(number)
        return self.made[number]

    def _make(self, number: int) -> Scene:
        log = self._log(f"{self.seed}{number}")
        log.grow(2)
        with log.deployment.served() as client:  # chance may have left no credential, or deleted none
            for place in PLACES[:4]:
                log.put(client, place)
            log.delete(client, PLACES[0])
        abandoned = _given_up(log)
        other = self._log(f"{self.seed}{number} elsewhere", another=True)
        with other.deployment.served() as client:
            for place in [*PLACES, (str(UUID(int=99, version=4)), PROVIDERS[0])] * 3:
                other.put(client, place)
        return Scene(log, other.deployment, abandoned)

    def _log(self, name: str, *, another: bool = False) -> HonestLog:
        """Return a log with everything in it. another: of another ledger than the template of the test's databases."""
        chance = random.Random(name)
        log = honest_log(self.server, self.stack, self.folder / name, chance, self.provider)
        _grant(log.deployment.url, self.role)
        if another:
            with Access(log.deployment.url, self.role).open(By.SUPERUSER) as database:
                database.execute("UPDATE keyledger_ledger SET ledger_id = gen_random_uuid()")
        log.everything_once()
        return log


_LAST_DELETIONS = "SELECT * FROM keyledger_events WHERE topic = 'CredentialDeleted' AND notification_id > %s"


def _given_up(log: HonestLog) -> Sequence[Row]:
    """Delete every credential, restore the backup from before that, and return the events that are gone."""
    back_up(log)
    before = log.deployment.url
    with connected(before) as database:
        before_that = database.execute("SELECT max(notification_id) AS n FROM keyledger_events").fetchall()[0]["n"]
    with log.deployment.served() as client:
        for place in sorted(log.calls):
            log.delete(client, place)
    restore(log)
    with connected(before) as database:
        return database.execute(_LAST_DELETIONS, [before_that]).fetchall()


@contextmanager
def scenes_on(server: TemplatedServer, folder: Path, seed: str = "") -> Iterator[Scenes]:
    """Scenes on a server, with a serving role that ends with them. seed: of what happens in the logs."""
    role = f"app-{secrets.token_hex(6)}"
    with ExitStack() as stack:
        owner = stack.enter_context(psycopg.connect(server.server.maintenance_url, autocommit=True))
        owner.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        stack.callback(owner.execute, sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
        provider = stack.enter_context(StandInProvider(accepted=lambda key: True))
        yield Scenes(server, provider, folder, role, stack, seed)


def as_role(url: str, role: str) -> str:
    """The address of a database for another role."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()


def _grant(url: str, role: str) -> None:
    """Give a role the rights of the file."""
    statements = (REPOSITORY / "projections/database/grants.sql").read_text().replace("APPLICATION_ROLE", role)
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(statements.encode())
