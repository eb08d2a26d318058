"""One random honest log, and everything that is noticed about it, which must be nothing."""

import random
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from scripts.demo.stand_in_provider import StandInProvider
from tests.forgeries.scenes import PLACES
from tests.support.examination import examine, honest_view
from tests.support.honest_log import honest_log
from tests.support.postgres import TemplatedServer


@dataclass(frozen=True)
class Trial:
    """happened: in the log, in order. accused: a sentence with what was noticed or changed; "" if nothing."""

    happened: tuple[str, ...]
    accused: str


def grown_and_examined(server: TemplatedServer, folder: Path, provider: StandInProvider, seed: str) -> Trial:
    """Grow a log by chance and examine it in every way. A start that is refused meanwhile is an accusation as well."""
    chance = random.Random(seed)
    with ExitStack() as stack:
        log = honest_log(server, stack, folder, chance, provider)
        try:
            log.grow(chance.randint(1, 5))
            calls = {place: log.expected(place) for place in PLACES}
            found = examine(log.deployment, honest_view(log.deployment, calls, folder), folder)
        except Exception as error:  # noqa: BLE001  whatever stops an honest log accuses it
            return Trial(tuple(log.happened), f"log {seed}: {type(error).__name__}: {error}, after {log.happened}")
    noticed = found.findings or found.blocked or not found.changed_nothing
    told = f"log {seed}: {found.findings}, {found.blocked}, {found.used}, {found.believed}, after {log.happened}"
    return Trial(tuple(log.happened), told if noticed else "")
