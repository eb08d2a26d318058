"""A node whose clock jumps, or is slow, next to one whose clock is right."""

import json
import random
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from projections.database.migration import migrate
from scripts.demo.stand_in_provider import StandInProvider
from scripts.terminal.exits import Exit
from tests.prove.part import Counts, Part, Scale
from tests.support.command_line import command
from tests.support.faketime import clock_of, missing, set_clock
from tests.support.postgres import templated_server
from tests.support.service import DIRECT_MODELS, Client, ServiceProcess, client_of, credential, environment

TENANT = "11111111-1111-4111-8111-111111111111"
_CLOCKS = [(0.0, 1.0), (1.0, 1.0), (-1.0, 1.0), (3600.0, 1.0), (-3600.0, 1.0), (0.0, 0.5), (0.0, 0.9)]
"""Seconds ahead, and the rate."""
_NEAR = timedelta(seconds=7)
"""5 seconds that a clock may be off, a second that the time of the log may be ahead, and a second for the answer."""


@dataclass
class _Trial:
    """keys: of the acknowledged sets, by version. moments: the right time of each answer."""

    nodes: dict[str, Client]
    provider: StandInProvider
    said: Path
    counts: Counts
    keys: list[str] = field(default_factory=list)
    moments: list[datetime] = field(default_factory=list)

    def step(self, rng: random.Random) -> None:
        """Set the clock of the second node, and let both nodes set, call and show."""
        ahead, rate = rng.choice(_CLOCKS)
        set_clock(self.said, ahead, rate)
        for name in rng.sample(sorted(self.nodes), 2):
            self._set(name, ahead, rate, f"sk-clock-{len(self.keys):06}-{rng.getrandbits(32):08x}")
            self._call(name)

    def _set(self, name: str, ahead: float, rate: float, key: str) -> None:
        answer = self.nodes[name].put(TENANT, "openai", api_key=key)
        if answer.status_code == 200:
            self.keys.append(key)
            self.moments.append(datetime.now(UTC))
            self.counts["acknowledged"] += 1
        else:
            self.counts["refused"] += 1
        off = name == "wrong" and abs(ahead) > 5
        certain = off or name == "right" or rate == 1.0
        if certain and answer.status_code != (503 if off else 200):
            said = f"the {name} node, {ahead:+.0f} s ahead, answered a change with"
            self.counts.faults.append(f"{said} {answer.status_code}: {answer.text}")

    def _call(self, name: str) -> None:
        self.provider.forget()
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
        answer = self.nodes[name].native(TENANT, "openai", "v1/chat/completions", json=body)
        arrived = [one.key for one in self.provider.requests]
        self.counts["calls"] += 1
        if self.keys and arrived != [self.keys[-1]] and answer.status_code != 503:
            self.counts["wrong"] += 1
            self.counts.faults.append(f"a call at the {name} node carried {arrived}, not {self.keys[-1]}")

    def compare_log(self, url: str) -> None:
        """Compare the times in the log with the moments of the answers, and the past with what was set."""
        with psycopg.connect(url) as database:
            rows = database.execute(
                "SELECT convert_from(state, 'UTF8') FROM keyledger_events WHERE topic = 'CredentialSet'"
                " ORDER BY notification_id"
            ).fetchall()
        times = [datetime.fromisoformat(json.loads(state)["timestamp"]) for (state,) in rows]
        if len(times) != len(self.keys):
            self.counts.faults.append(f"{len(self.keys)} changes were acknowledged, and the log has {len(times)}")
            return
        far = [
            nth for nth, (one, moment) in enumerate(zip(times, self.moments, strict=True)) if abs(one - moment) > _NEAR
        ]
        if far:
            nth = far[0]
            self.counts.faults.append(
                f"version {nth + 1} has the time {times[nth]}, and was answered at {self.moments[nth]}"
            )
        last = Counter(times)
        for version, moment in enumerate(times, 1):
            last[moment] = version
        for moment, version in last.items():
            params = {"as_of": moment.isoformat()}
            answer = self.nodes["right"].http.get(credential(TENANT, "").rstrip("/"), params=params)
            shown = [one["version"] for one in answer.json()["credentials"]]
            self.counts["as of"] += 1
            if shown != [version]:
                self.counts.faults.append(f"as of {moment} the version was {version}, and {shown} is shown")


def run(scale: Scale, rng: random.Random, folder: Path) -> Counts:
    """Set the clock of one of two nodes again and again."""
    counts = Counts(acknowledged=0, refused=0, calls=0, wrong=0, **{"as of": 0})
    said = folder / "clock"
    set_clock(said, 0)
    ends = time.monotonic() + scale.of(20, 45, 1800)
    with ExitStack() as stack:
        provider = stack.enter_context(StandInProvider(accepted=lambda key: True))
        server = stack.enter_context(templated_server(folder, migrate))
        url = stack.enter_context(server.fresh_database())
        right = environment(
            DATABASE_URL=url,
            DATA_DIR=str(folder / "right"),
            AI_MODELS_FILE=DIRECT_MODELS,
            OPENAI_API_BASE=provider.url,
            ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc,
        )
        wrong = right | {"DATA_DIR": str(folder / "wrong"), **clock_of(said)}
        processes = {
            "right": ServiceProcess(right, folder),
            "wrong": ServiceProcess(wrong, folder, module="tests.support.wrong_clock"),
        }
        nodes = {}
        for name, process in processes.items():
            stack.enter_context(process)
            nodes[name] = stack.enter_context(client_of(process.url))
        trial = _Trial(nodes, provider, said, counts)
        while time.monotonic() < ends and len(counts.faults) < 10:
            trial.step(rng)
        set_clock(said, 0)
        trial.compare_log(url)
        ended = command(folder, right, "verify")
        if ended.code != Exit.OK:
            counts.faults.append(f"keyledger verify ended with {ended.code}: {ended.err}")
    return counts


PART = Part(
    "clock",
    1,
    "a node whose clock jumps by a second or an hour, or is slow, neither sends time back nor moves the past",
    missing,
    run,
    quick=False,
)
