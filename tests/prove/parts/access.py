"""Random commands on access keys and their proposals, on two nodes that are killed and started again."""

import random
from pathlib import Path

import httpx

from projections.database.migration import migrate
from tests.prove.part import Counts, Part, Scale, nothing
from tests.support.access_model import SETTINGS, AccessModel
from tests.support.checker import check
from tests.support.postgres import templated_server
from tests.support.service import ServiceProcess, client_of
from tests.support.store import open_store

_BETWEEN = 1_000
"""Steps between two restarts of a node."""
_COUNTED = ("admitted", "refused", "outside", "created", "rotated", "revoked", "approved", "lapsed")


def run(scale: Scale, rng: random.Random, folder: Path) -> Counts:
    """Take steps until there are enough, or an answer differs from the model."""
    steps = scale.of(2_000, 4_000, 100_000)
    counts = Counts(steps=0, restarts=0, **dict.fromkeys(_COUNTED, 0), differences=0)
    with templated_server(folder / "server", migrate) as server, server.fresh_database() as url:
        nodes = _Nodes(url, folder)
        model = AccessModel(nodes.http, rng)
        try:
            for number in range(1, steps + 1):
                model.step()
                counts["steps"] = number
                if number % _BETWEEN == 0:
                    nodes.restart(rng.randrange(2), killed=rng.random() < 0.5)
                    counts["restarts"] += 1
                    model.compare()
            model.compare()
        except AssertionError as difference:
            counts["differences"] = 1
            counts.faults.append(f"after {counts['steps']} steps: {difference}")
        finally:
            nodes.close()
        for word in _COUNTED:
            counts[word] = model.done[word]
        with open_store(url) as store:
            check(store)
    return counts


class _Nodes:
    """Two nodes as processes of their own."""

    def __init__(self, url: str, folder: Path) -> None:
        self._services = [
            ServiceProcess({**SETTINGS, "DATABASE_URL": url, "DATA_DIR": str(folder / f"data-{number}")}, folder)
            for number in range(2)
        ]
        self._clients: list[httpx.Client] = []
        for service in self._services:
            service.start()
            self._clients.append(self._client(service))

    def http(self, number: int) -> httpx.Client:
        """Return the client of a node."""
        return self._clients[number]

    def restart(self, number: int, *, killed: bool) -> None:
        """End a node, as a crash or as an operator does, and start it again."""
        service = self._services[number]
        self._clients[number].close()
        (service.kill if killed else service.stop)()
        service.log = ""
        service.start()
        self._clients[number] = self._client(service)

    def close(self) -> None:
        """End both."""
        for client, service in zip(self._clients, self._services, strict=True):
            client.close()
            service.stop()

    @staticmethod
    def _client(service: ServiceProcess) -> httpx.Client:
        with client_of(service.url) as made:
            headers = made.http.headers
        return httpx.Client(base_url=service.url, headers=headers, timeout=60, trust_env=False, verify=False)


PART = Part(
    "access",
    0.5,
    "random commands on access keys and their proposals, on two nodes that are killed and started again, leave no"
    " difference to a model of what each key admits",
    nothing,
    run,
    quick=True,
)
