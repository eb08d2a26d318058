"""Every kind of forgery is found, and where it is; or it changes nothing that a call uses or an auditor reads.

The kinds are the table: `events`, `removals`, `projections` and `surroundings` hold one function for each. Each kind is
tried on random honest logs, at random places, on a store that no node serves and on one that a node serves.
KEYLEDGER_TEST_FORGERIES says how many forgeries there are in all.
"""

import random
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from scripts.demo.stand_in_provider import StandInProvider
from tests.forgeries import events, projections, removals, surroundings
from tests.forgeries.kinds import KINDS, Kind, Must, Where
from tests.support.deployment import PROVIDERS, Deployment
from tests.support.effort import FORGERIES
from tests.support.examination import Examination, Honest, examine, honest_view
from tests.support.forger import Access, By, Forger, connected
from tests.support.honest_log import TENANTS, HonestLog, honest_log
from tests.support.places import REPOSITORY
from tests.support.postgres import TemplatedServer

MODULES = (events, projections, removals, surroundings)
TIMES = max(1, FORGERIES // len(KINDS))
REFUSALS = ("42501", "23514", "P0001", "KL")
"""Of a right that is missing, of a constraint, and of the service's own functions."""
BY_ITSELF = frozenset({"start", "readyz", "checkpoint", "call"})
LOGS = 1 + TIMES // 16
"""Honest logs of each worker; each is used for many forgeries."""


@dataclass
class Scene:
    """An honest deployment that no node serves at the moment."""

    log: HonestLog
    honest: Honest
    other: Deployment


@dataclass
class Scenes:
    """The honest logs of this worker, made when they are first needed."""

    server: TemplatedServer
    provider: StandInProvider
    folder: Path
    role: str
    stack: ExitStack
    made: dict[int, Scene] = field(default_factory=dict)

    def scene(self, number: int) -> Scene:
        if number not in self.made:
            self.made[number] = self._make(number)
        return self.made[number]

    def _make(self, number: int) -> Scene:
        log = self._log(f"{number}")
        log.grow(2)
        places = sorted((tenant, provider) for tenant in TENANTS for provider in PROVIDERS)
        honest = honest_view(log.deployment, {place: log.expected(place) for place in places}, log.deployment.nodes[0])
        other = self._log(f"{number} elsewhere", another=True)
        with other.deployment.served() as client:
            for place in [*places, (str(UUID(int=99, version=4)), PROVIDERS[0])] * 3:
                other.put(client, place)
        return Scene(log, honest, other.deployment)

    def _log(self, name: str, *, another: bool = False) -> HonestLog:
        """Return a log with everything in it. another: of another ledger than the template of the test's databases."""
        chance = random.Random(name)
        log = honest_log(self.server, self.stack, self.folder / name, chance, self.provider)
        granted(log.deployment.url, self.role)
        if another:
            with Access(log.deployment.url, self.role).open(By.SUPERUSER) as database:
                database.execute("UPDATE keyledger_ledger SET ledger_id = gen_random_uuid()")
        log.everything_once()
        return log


@pytest.fixture(scope="module")
def scenes(postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    role = f"app-{secrets.token_hex(6)}"
    with ExitStack() as stack:
        owner = stack.enter_context(psycopg.connect(postgres_server.server.maintenance_url, autocommit=True))
        owner.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        stack.callback(owner.execute, sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
        provider = stack.enter_context(StandInProvider(accepted=lambda key: True))
        yield Scenes(postgres_server, provider, tmp_path_factory.mktemp("scenes"), role, stack)


def as_role(url: str, role: str) -> str:
    """The address of a database for another role."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()


def granted(url: str, role: str) -> None:
    """Give a role the rights of the file."""
    statements = (REPOSITORY / "projections/database/grants.sql").read_text().replace("APPLICATION_ROLE", role)
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(statements.encode())


@pytest.mark.parametrize("kind", KINDS, ids=map(str, KINDS))
def test_a_forgery_is_found_where_it_is_or_changes_nothing(scenes: Scenes, tmp_path: Path, kind: Kind) -> None:
    for number in range(TIMES):
        chance = random.Random(f"{kind} {number}")
        scene = scenes.scene(number % LOGS)
        with scenes.server.copy_of(scene.log.deployment.url) as url:
            attempt = Attempt(kind, chance, scene, url, scenes.role, tmp_path / str(number))
            attempt.judge()


@dataclass
class Attempt:
    """One forgery on a copy of an honest store."""

    kind: Kind
    chance: random.Random
    scene: Scene
    url: str
    role: str
    folder: Path
    where: Where = field(default_factory=Where)
    refused: bool = False

    def judge(self) -> None:
        """Forge, examine, and compare with what must become of this kind."""
        restricted = self.kind.restricted or self.chance.random() < 0.5
        url = as_role(self.url, self.role) if restricted else self.url
        deployment = self.scene.log.deployment.copied(url, self.folder)
        if self.kind.restricted:
            deployment = replace(deployment, more={"DATABASE_ROLE_STRICT": "true"})
        served = self.chance.random() < 0.5
        if served:
            found = examine(deployment, self.scene.honest, self.folder, self.forge)
        else:
            self.forge()
            found = examine(deployment, self.scene.honest, self.folder)
        told = f"{'while a node serves' if served else 'while none serves'}: {self._told(found)}"
        print(told)
        if self.refused:
            assert self.kind.refusable, told
            assert not found.findings, told
        elif self.kind.must is Must.HARMLESS:
            assert all(self.where.fits(finding) for finding in found.findings), told
            assert not found.blocked, told
        else:
            ways = BY_ITSELF if self.kind.unaided else None
            findings = [finding for finding in found.findings if ways is None or finding.way in ways]
            assert findings, told
            assert any(self.where.fits(finding) for finding in findings), told
        if not found.findings or self.kind.must is Must.HARMLESS:
            assert found.changed_nothing, told
        assert self.kind.uses or not found.used, told

    def forge(self) -> None:
        access = Access(self.url, self.role)
        try:
            with access.open(self.kind.by) as database, connected(self.scene.other.url) as elsewhere:
                self.where = self.kind.forge(Forger(database, self.chance, self.kind.by, elsewhere))
        except psycopg.Error as error:
            if not (error.sqlstate or "").startswith(REFUSALS):
                raise
            self.refused = True

    def _told(self, found: Examination) -> str:
        noticed = f"found {found.findings}, blocked {found.blocked}"
        return f"forged at {self.where}, {noticed}, used {found.used}, believed {found.believed}"


def test_no_two_kinds_have_one_name() -> None:
    names = [str(kind) for kind in KINDS]
    assert len(names) == len(set(names))
    assert len(MODULES) == 4
