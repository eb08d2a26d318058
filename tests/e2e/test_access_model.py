"""Random commands on access keys and their proposals, on two nodes that are restarted, compared with a model."""

import random
from contextlib import ExitStack

import httpx

from tests.support.access_model import SETTINGS, AccessModel
from tests.support.checker import check
from tests.support.effort import ACCESS_STEPS
from tests.support.service import client_of, served
from tests.support.store import open_store

_ROUNDS = 2


def test_two_nodes_admit_what_a_model_of_the_keys_admits_and_after_restarts_too(database_url: str) -> None:
    chance = random.Random(20261129)
    nodes: list[httpx.Client] = []
    model = AccessModel(lambda number: nodes[number], chance)
    for _ in range(_ROUNDS):
        with ExitStack() as running:
            urls = [running.enter_context(served(database_url, SETTINGS)) for _ in range(2)]
            nodes[:] = [running.enter_context(client_of(url)).http for url in urls]
            model.compare()
            for _ in range(ACCESS_STEPS // _ROUNDS):
                model.step()
            model.compare()
    assert {"admitted", "refused", "outside", "created", "revoked", "approved", "own proposal"} <= set(model.done)
    with open_store(database_url) as store:
        check(store)
