"""Every kind of forgery is found, and where it is; or it changes nothing that a call uses or an auditor reads.

The kinds are the table: `events`, `removals`, `projections`, `rules` and `surroundings` hold one function for each.
Each kind is tried on random honest logs, at random places, on a store that no node serves and on one that a node
serves, and judged through the public face of the service; and by each of those who can do it on the functions below
that face, as the part `forgeries` of `make prove` tries many more. KEYLEDGER_TEST_FORGERIES says how many there are in
all through the public face. Without it, that sees one kind in SHARE, by one of those who can do it, who take turns.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from itertools import groupby
from pathlib import Path

import pytest

from tests.forgeries.attempt import MODULES, Attempt
from tests.forgeries.bench import Bench
from tests.forgeries.kinds import KINDS, Kind
from tests.forgeries.scenes import Scenes, as_role, scenes_on
from tests.support.effort import FORGERIES, SHARE
from tests.support.examination import Honest, examine, honest_view
from tests.support.forger import Access, By, connected
from tests.support.postgres import TemplatedServer

TIMES = max(1, FORGERIES // len(KINDS))
LOGS = 1 + TIMES // 16
"""Honest logs of each worker; each is used for many forgeries."""
HonestViews = Callable[[int], Honest]


def by_turns(kinds: Sequence[Kind]) -> list[Kind]:
    """One kind of each name: of those that differ only in who does it, the first and the last by turns."""
    named = [list(same) for _, same in groupby(kinds, key=lambda kind: kind.name)]
    return [same[-(number % 2)] for number, same in enumerate(named)]


TRIED = KINDS if FORGERIES else by_turns(KINDS)[::SHARE]
"""Through the public face."""


@pytest.fixture(scope="module")
def scenes(postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    with scenes_on(postgres_server, tmp_path_factory.mktemp("scenes")) as made:
        yield made


@pytest.fixture(scope="module")
def honest(scenes: Scenes) -> HonestViews:
    """The keys that calls use and the texts that auditors read in each scene, before anything is forged."""

    @cache
    def view(number: int) -> Honest:
        scene = scenes.scene(number)
        return honest_view(scene.log.deployment, scene.calls, scene.log.deployment.nodes[0])

    return view


@pytest.mark.parametrize("kind", TRIED, ids=map(str, TRIED))
def test_a_forgery_is_found_where_it_is_or_changes_nothing(
    scenes: Scenes, honest: HonestViews, tmp_path: Path, kind: Kind
) -> None:
    for number in range(TIMES):
        judge(kind, number, scenes, honest, tmp_path / str(number))


def test_a_forgery_by_each_who_can_do_it_is_found_below_the_public_face(scenes: Scenes) -> None:
    scene = scenes.scene(0)
    with ExitStack() as stack:
        bench = Bench(scene, scenes.role, stack)
        tried = [bench.forge(kind, random.Random(f"{kind}")) for kind in KINDS]
        assert not [str(one) for one in tried if one.wrong]
        found = bench.look(random.Random(0))
    assert (found.findings, found.blocked, found.changed_nothing) == ([], [], True), "the honest log is accused"


def judge(kind: Kind, number: int, scenes: Scenes, honest: HonestViews, folder: Path) -> None:
    """Forge on a copy of an honest store, examine it, and compare with what must become of this kind."""
    chance, expected, scene = random.Random(f"{kind} {number}"), honest(number % LOGS), scenes.scene(number % LOGS)
    with scenes.server.copy_of(scene.log.deployment.url) as url:
        database = partial(Access(url, scenes.role).open, kind.by)
        attempt = Attempt(kind, chance, database, partial(connected, scene.other.url), abandoned=scene.abandoned)
        restricted = kind.restricted or chance.random() < 0.5
        deployment = scene.log.deployment.copied(as_role(url, scenes.role) if restricted else url, folder)
        if kind.restricted:
            deployment = replace(deployment, more={"DATABASE_ROLE_STRICT": "true"})
        served = chance.random() < 0.5
        if not served:
            attempt.forge()
        found = examine(deployment, expected, folder, attempt.forge if served else None)
    told = f"{'while a node serves' if served else 'while none serves'}: {attempt.told(found)}"
    print(told)
    assert not (wrong := attempt.wrong(found)), f"{wrong}: {told}"


def test_every_forgery_is_tried_and_both_who_can_do_it_take_turns() -> None:
    tried = by_turns(KINDS)
    assert {kind.name for kind in tried} == {kind.name for kind in KINDS}
    assert len(tried) == len({kind.name for kind in tried})
    both = {kind.name for kind in KINDS if kind.by is By.SUPERUSER} & {
        kind.name for kind in KINDS if kind.by is By.APPLICATION
    }
    assert min(sum(kind.by is by for kind in tried if kind.name in both) for by in By) > len(both) // 3


def test_no_two_kinds_have_one_name() -> None:
    names = [str(kind) for kind in KINDS]
    assert len(names) == len(set(names))
    assert len(MODULES) == 5
