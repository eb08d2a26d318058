"""A log of a million events: no route and no command fails because of it, with any filter, and none takes seconds.

The log is that of 20,000 tenants whose credentials are set, replaced and deleted, appended in large batches. Every GET
of the OpenAPI document is asked, with each of its filters by itself, at the values of `VALUES`; what is rarest is
looked for, because that takes longest.
"""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg

from domain.credentials.command_batch import AdminCommand
from domain.credentials.commands import DeleteCredential, SetCredential
from domain.credentials.credential import Credential, CredentialEvent, decide, evolve
from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import Secret
from domain.events.event import CommandMeta, utc_now
from keyledger import embedded_postgres
from keyledger.encryption.keyring import Keyring
from projections.database.migration import migrate
from scripts.terminal.exits import Exit
from tests.prove.part import Counts, Part, Scale, nothing
from tests.support.command_line import command
from tests.support.service import DIRECT_MODELS, ServiceProcess, client_of, environment
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY, open_store

_TENANT = str(UUID(int=7, version=4))
_PROVIDERS = ("openai", "mistral", "anthropic")
_TOGETHER = 500
"""Events of one commit."""
_BOUND_MS = 3_000
"""The longest that an answer may take on any machine: the limit of the store itself."""
_ANSWER_S, _EXPORT_S = 60, 600
"""Seconds that are waited for an answer, and for the first of the entries that an export looks for among all."""
_NO_ANSWER = 599
_READ = 1 << 20
"""Bytes of an export that are read."""
VALUES: Mapping[str, str] = {
    "action": "person-erased",
    "actor": "somebody-who-never-came",
    "after": "",
    "as_of": "2026-01-02T00:00:00Z",
    "before": "500000",
    "bom": "true",
    "fingerprint": "f" * 16,
    "format": "csv",
    "from": "1",
    "key_id": "k0123456789",
    "limit": "100",
    "model": "gpt-4o",
    "order": "asc",
    "outcome": "failed",
    "part_of": "0",
    "position": "1000",
    "provider": "anthropic",
    "q": "nothing-of-this-kind",
    "reason": "no-such-reason",
    "set_before": "2025-01-01T00:00:00Z",
    "since": "2099-01-01T00:00:00Z",
    "size": "1000",
    "state": "credential-rejected",
    "tenant_id": _TENANT,
    "text": "nothing-of-this-kind",
    "to": "1000",
    "until": "2026-01-01T00:00:00Z",
    "unused_since": "2025-01-01T00:00:00Z",
    "used_before": "2025-01-01T00:00:00Z",
}
"""The value of each parameter; "" for one that only a page before can give."""
_COMMANDS = (("keys", "list"), ("projections", "list"), ("keys", "rotate", "--yes"), ("verify",))
_ASKING = (
    ("audit", "search", "nothing-of-this-kind"),
    ("audit", "export", "--format", "csv", "-o", "trail.csv", "nothing-of-this-kind"),
)
"""Commands that work on the database, and commands that ask the service."""
_ELSEWHERE = ("{rotation_id}", "{replay_id}", "{access_key}", "{path}", "{id}")
"""Parts of paths that name something which this log does not have."""


def _history(ring: Keyring, count: int) -> Iterator[CredentialEvent]:
    """Yield the events of commands, in the order of the log."""
    tenants = [str(UUID(int=number, version=4)) for number in range(1, max(2, count // 50))]
    states: dict[tuple[str, str], Credential] = {}
    for number in range(count):
        place = tenants[number % len(tenants)], _PROVIDERS[number // len(tenants) % len(_PROVIDERS)]
        meta = CommandMeta("load", str(UUID(int=number, version=4)), str(UUID(int=number, version=4)))
        state = states.get(place)
        command: AdminCommand = SetCredential(*place, Secret(f"sk-load-{number:032}"), CredentialConfig(), meta)
        if state is not None and state.sealed is not None and number // len(tenants) % 7 == 0:
            command = DeleteCredential(*place, meta)
        (event,) = decide(state, command, utc_now(), ring)
        states[place] = evolve(event)
        yield event


def _fill(dsn: str, count: int) -> None:
    with open_store(dsn) as store:
        events = _history(store.keyring, count)
        while batch := list(islice(events, _TOGETHER)):
            store.log.append(batch)
        store.follow()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def _requests(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each path to ask with its query: the least that is needed, then one filter at a time."""
    for path, operations in document["paths"].items():
        if "get" not in operations or any(part in path for part in _ELSEWHERE):
            continue
        parameters = [one for one in operations["get"].get("parameters", ()) if one["in"] != "header"]
        in_path = {one["name"]: VALUES[one["name"]] for one in parameters if one["in"] == "path"}
        needed = {
            one["name"]: VALUES[one["name"]] for one in parameters if one["in"] == "query" and one.get("required")
        }
        filters = [one["name"] for one in parameters if one["in"] == "query" and not one.get("required")]
        asked = path.format(**in_path)
        yield asked, needed
        for name in filters:
            if VALUES[name]:
                yield asked, {**needed, name: VALUES[name]}


def _ask(http: httpx.Client, path: str, query: dict[str, str], patience_s: float) -> tuple[int, float]:
    """Return the status of an answer, and the milliseconds until it was there, or the first MiB of it.

    The status is 599 for an answer that stopped arriving for longer than `patience_s`.
    """
    began, read, status = time.perf_counter(), 0, _NO_ANSWER
    with suppress(httpx.TimeoutException), http.stream("GET", path, params=query, timeout=patience_s) as answer:
        for piece in answer.iter_bytes():
            read += len(piece)
            if read > _READ:
                break
        status = answer.status_code
    return status, 1000 * (time.perf_counter() - began)


def _commands(
    folder: Path, settings: Mapping[str, str], counts: Counts, commands: Sequence[tuple[str, ...]] = _COMMANDS
) -> None:
    for arguments in commands:
        began = time.perf_counter()
        ended = command(folder, settings, *arguments)
        counts["commands"] += 1
        counts[f"{' '.join(arguments[:2])} ms"] = round(1000 * (time.perf_counter() - began))
        if ended.code != Exit.OK:
            counts.faults.append(f"keyledger {' '.join(arguments)} ended with {ended.code}: {ended.err or ended.out}")


def run(scale: Scale, rng: random.Random, folder: Path) -> Counts:
    """Write the log, ask every route, then run the commands that look at the whole of it."""
    counts = Counts(events=scale.of(20_000, 1_000_000, 10_000_000), requests=0, commands=0)
    with embedded_postgres.start(folder / "pg") as postgres:
        dsn = postgres.dsn("size")
        migrate(dsn)
        _fill(dsn, counts["events"])
        settings = environment(DATABASE_URL=dsn, DATA_DIR=str(folder / "data"), AI_MODELS_FILE=DIRECT_MODELS)
        with ServiceProcess(settings, folder) as service, client_of(service.url) as client:
            for path, query in _requests(client.http.get("/openapi.json").json()):
                exported = "export" in path or "evidence" in path
                status, took = _ask(client.http, path, query, _EXPORT_S if exported else _ANSWER_S)
                counts["requests"] += 1
                if not exported and took > counts["slowest ms"]:
                    counts["slowest ms"] = round(took)
                if status >= 500 or (took > _BOUND_MS and not exported):
                    counts.faults.append(f"{path} with {query} was answered {status} after {took:.0f} ms")
            _commands(folder, {**settings, "KEYLEDGER_URL": service.url}, counts, _ASKING)
        rotated = {
            **settings,
            "ENCRYPTION_KEY": OTHER_ENCRYPTION_KEY.reveal(),
            "ENCRYPTION_KEY_PREVIOUS": ENCRYPTION_KEY.reveal(),
        }
        _commands(folder, rotated, counts)
    return counts


PART = Part(
    "size",
    12,
    "no route, filter or command fails because the log has a million events",
    nothing,
    run,
    quick=False,
)
