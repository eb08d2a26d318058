"""Mixed traffic for minutes: memory, descriptors, connections and tables do not grow with it."""

import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import psycopg

from keyledger import embedded_postgres
from scripts.demo.stand_in_provider import StandInProvider
from scripts.terminal.exits import Exit
from tests.prove.part import Counts, Part, Scale, nothing
from tests.support.command_line import command
from tests.support.service import DIRECT_MODELS, Client, ServiceProcess, client_of, environment

_CLIENTS = 4
_TENANTS = [str(UUID(int=number, version=4)) for number in range(1, 201)]
_SAMPLE_S = 2.0
_TABLES = ("current_credentials", "nodes", "projection_positions", "keyledger_locks")
"""Tables whose rows are changed in place; the others grow with the log."""


@dataclass(frozen=True)
class Sample:
    """One look. rss, tables: in bytes."""

    rss: int
    descriptors: int
    connections: int
    tables: int


_BOUNDS = {"rss": 40 << 20, "descriptors": 30, "connections": 6, "tables": 4 << 20}
"""How much each may grow from the second quarter of the time to the last."""


def _traffic(client: Client, rng: random.Random, stop: threading.Event, counts: Counts, lock: threading.Lock) -> None:
    while not stop.is_set():
        tenant, chance = rng.choice(_TENANTS), rng.random()
        if chance < 0.3:
            word, answer = "changes", client.put(tenant, "openai", api_key=f"sk-soak-{rng.getrandbits(64):016x}")
        elif chance < 0.35:
            word, answer = "changes", client.delete(tenant, "openai")
        elif chance < 0.4:
            word, answer = (
                "reads",
                client.http.get("/api/v1/audit/entries", params={"tenant_id": tenant, "limit": "50"}),
            )
        else:
            body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}], "stream": chance > 0.9}
            word, answer = "calls", client.native(tenant, "openai", "v1/chat/completions", json=body)
        with lock:
            counts[word] += 1
            if answer.status_code not in {200, 404}:
                counts["errors"] += 1


def _look(pid: int, url: str) -> Sample:
    with psycopg.connect(url) as database:
        row = database.execute(
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()),"
            " (SELECT sum(pg_total_relation_size(name::regclass)) FROM unnest(%s::text[]) AS name)",
            [list(_TABLES)],
        ).fetchone()
    assert row is not None
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Sample(pages * os.sysconf("SC_PAGE_SIZE"), descriptors, int(row[0]), int(row[1]))


def _growth(samples: list[Sample], of: Callable[[Sample], int]) -> int:
    """Return by how much the mean of the last quarter exceeds that of the second."""
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    return round(sum(map(of, last)) / quarter - sum(map(of, second)) / quarter)


def run(scale: Scale, rng: random.Random, folder: Path) -> Counts:
    """Send traffic, look every few seconds, and compare."""
    seconds = scale.of(60, 600, 8 * 3600)
    counts = Counts(changes=0, calls=0, reads=0, errors=0)
    samples: list[Sample] = []
    with ExitStack() as stack:
        provider = stack.enter_context(StandInProvider(accepted=lambda key: True))
        postgres = stack.enter_context(embedded_postgres.start(folder / "pg"))
        settings = environment(
            DATABASE_URL=postgres.dsn(),
            DATA_DIR=str(folder / "data"),
            AI_MODELS_FILE=DIRECT_MODELS,
            OPENAI_API_BASE=provider.url,
            OPENAI_API_KEY="sk-global-0123456789",
            ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc,
        )
        service = stack.enter_context(ServiceProcess(settings, folder))
        stop, lock = threading.Event(), threading.Lock()
        with ThreadPoolExecutor(_CLIENTS) as threads:
            stack.callback(stop.set)
            clients = [stack.enter_context(client_of(service.url)) for _ in range(_CLIENTS)]
            running = [
                threads.submit(_traffic, client, random.Random(rng.random()), stop, counts, lock) for client in clients
            ]
            for _ in islice(iter(lambda: stop.wait(_SAMPLE_S), True), round(seconds / _SAMPLE_S)):
                samples.append(_look(service.pid, postgres.dsn()))
                provider.forget()
            stop.set()
        for one in running:
            one.result()
        for name, bound in _BOUNDS.items():
            growth = _growth(samples, lambda sample, name=name: getattr(sample, name))  # type: ignore[misc]
            counts[f"{name} growth"] = growth
            if growth > bound:
                counts.faults.append(f"{name} grew by {growth:,}, and may by {bound:,}: {samples[0]} to {samples[-1]}")
        if counts["errors"]:
            counts.faults.append(f"{counts['errors']} answers were neither 200 nor 404")
        ended = command(folder, settings, "verify")
        if ended.code != Exit.OK:
            counts.faults.append(f"keyledger verify ended with {ended.code}: {ended.err}")
    return counts


PART = Part(
    "soak",
    10,
    "minutes of mixed traffic leave memory, descriptors, connections and tables as large as they were",
    nothing,
    run,
    quick=False,
)
