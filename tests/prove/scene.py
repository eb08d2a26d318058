"""Two services on one embedded PostgreSQL under load, disturbed by a part, and whether they write again afterwards."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from tests.prove.check import Read
from tests.prove.client import Client
from tests.prove.embedded_services import NAMES, embedded_services, kill_server
from tests.prove.findings import judge_answers
from tests.prove.ledger import DELETE, SET, Ledger
from tests.prove.load import PROVIDER, Load, send
from tests.prove.part import Counts
from tests.support.native_provider import native_provider

AGAIN_S = 15.0
"""Seconds in which services have to write again."""

_SETTLE_S = 1.0
_LOOK_S = 0.05


@dataclass
class Scene:
    """The place where it happens, and everything known so far."""

    folder: Path
    ledger: Ledger
    rng: random.Random
    counts: Counts
    reads: list[Read] = field(default_factory=list)

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @contextmanager
    def load(self) -> Iterator[tuple[Load, Callable[[], None]]]:
        """Two services under load. Gives the load, and how to kill both services and the server in any order."""
        with native_provider() as provider, embedded_services(self.data_dir, self.folder, provider) as services:

            def cut() -> None:
                victims = [lambda: kill_server(self.data_dir, whole=True), *(one.kill for one in services.values())]
                self.rng.shuffle(victims)
                for kill in victims:
                    kill()

            urls = {name: service.url for name, service in services.items()}
            with Load(urls, provider, self.ledger, self.rng, writers=6, readers=2) as load:
                yield load, cut
            self.reads += load.reads()
            judge_answers(load.answers.since(0), self.counts)

    def written_again(self, load: Load, began: float) -> bool:
        """Wait until both services have acknowledged a change that was sent after this moment and after an outage."""
        while (passed := time.monotonic() - began) < AGAIN_S:
            time.sleep(_LOOK_S)
            answers = [one for one in load.answers.since(began) if one.action in {SET, DELETE}]
            failed = [one.ended for one in answers if one.status == 503]
            if passed < _SETTLE_S and not failed:
                continue  # it may not have ended yet
            since = min(failed, default=began)
            firsts = [
                min((one.ended for one in answers if one.by == name and one.succeeded and one.at > since), default=None)
                for name in NAMES
            ]
            if None not in firsts:
                longest = max(first for first in firsts if first is not None) - began
                self.counts["first write ms"] = max(self.counts["first write ms"], round(1000 * longest))
                return True
        return False

    def until_acknowledged(self, client: Client) -> bool:
        tenant, deadline = str(UUID(int=self.rng.getrandbits(128), version=4)), time.monotonic() + 2 * AGAIN_S
        while time.monotonic() < deadline:
            if send(client, self.ledger.sending(SET, tenant, PROVIDER), self.ledger).succeeded:
                return True
            time.sleep(_LOOK_S)
        return False
