"""How long a start takes and what memory it needs, against LiteLLM's proxy; and whether use makes it grow.

Ready is when the readiness check answers 200. Memory is the resident memory of the service's processes, without the
database server: the proxy has none. It is taken at ready and, because the LLM library is loaded alongside, after the
first call too, and then after many. Workers share most of it: what one more takes is its private memory.
"""

import time
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmarks.chat import TENANTS
from benchmarks.frame import Goal, Row, Scale, Section, Spread, UnusableError, optional
from benchmarks.load import Call, send_calls
from benchmarks.peers import litellm_proxy
from benchmarks.processes import Running
from benchmarks.provider import provider
from benchmarks.service import OURS, completion, pass_through, service, set_credentials, settle, warm

CLIENTS = 8
START, READY, AFTER, GROWTH = (Goal(value, at_most=True) for value in (0.3, 0.4, 0.8, 1.05))
WORKERS = 2
ONE_MORE = Goal(50 / 184, at_most=True)
"""To what a worker took that was started, not forked."""
_SETTLE_S = 1.0
_STARTED_MB = 184


def run(scale: Scale, folder: Path) -> Section:
    """Measure ours, then the proxy; one start each for every round, the calls in the last."""
    section = Section("footprint: start and memory, to LiteLLM's proxy")
    rounds = min(scale.rounds, 3)
    with provider() as provider_port:
        ours = [_ours(scale, folder / f"ours-{nth}", provider_port, calls=nth == rounds - 1) for nth in range(rounds)]
        theirs: list[dict[str, float]] = []
        with optional(section, "LiteLLM's proxy"):
            for nth in range(rounds):
                one = _proxy(scale, folder / f"proxy-{nth}", provider_port, calls=nth == rounds - 1)
                theirs.append(one)
    if theirs:
        for what, member, goal, unit in (
            ("start to ready", "start", START, "s"),
            ("resident memory at ready", "ready", READY, "MB"),
            ("resident memory after the first call", "first", None, "MB"),
            ("resident memory after all calls", "after", AFTER, "MB"),
        ):
            pairs = [(a[member], b[member]) for a, b in zip(ours, theirs, strict=True) if member in a and member in b]
            beside = ", ".join(f"{a:.1f} to {b:.1f} {unit}" for a, b in pairs)
            section.rows.append(Row(what, Spread.of([a / b for a, b in pairs]), goal, beside))
        section.rows.append(_of_workers(folder / "workers", provider_port))
    last = ours[-1]
    for way in ("LiteLLM", "pass-through"):
        if f"{way} early" in last:
            growth = last[f"{way} late"] / last[f"{way} early"]
            beside = f"{last[f'{way} early']:.0f} MB, then {last[f'{way} late']:.0f} MB"
            what = f"memory after {scale.calls:,} calls through {way}, to that after {scale.calls // 10:,}"
            section.rows.append(Row(what, Spread.of([growth]), GROWTH, beside))
        else:
            section.skip(f"calls through {way}", "this service answers 404 to the pass-through")
    return section


def _ours(scale: Scale, folder: Path, provider_port: int, *, calls: bool) -> dict[str, float]:
    folder.mkdir()
    with ExitStack() as opened:
        # The first start makes the database; a start is measured as it is from then on.
        with service(folder, provider_port=provider_port, encryption_key=_KEY) as running:
            set_credentials(running, TENANTS)
        running = opened.enter_context(service(folder, provider_port=provider_port, encryption_key=_KEY))
        found = {"start": running.start_seconds, "ready": running.memory_mb}
        call = completion(OURS, streaming=False)
        _first_call(running, call, found)
        if not calls:
            return found
        ways = {"LiteLLM": call}
        with suppress(UnusableError):
            ways["pass-through"] = pass_through(running, streaming=False)
        for way, one in ways.items():
            _many(running, one, scale.calls, way, found)
        found["after"] = running.memory_mb
    return found


def _of_workers(folder: Path, provider_port: int) -> Row:
    """Measure the private memory of each worker after calls on all of them."""
    folder.mkdir()
    with service(folder, provider_port=provider_port, processes=WORKERS) as running:
        set_credentials(running, TENANTS)
        settle(running, WORKERS)
        send_calls(running.port, completion(OURS, streaming=False), CLIENTS, 40 * CLIENTS)
        private = running.private_mb
        return Row(
            f"private memory of each of {WORKERS} workers, to {_STARTED_MB} MB of one that is not forked",
            Spread.of([one / _STARTED_MB for one in private]),
            ONE_MORE,
            ", ".join(f"{one:.0f} MB" for one in private),
        )


def _proxy(scale: Scale, folder: Path, provider_port: int, *, calls: bool) -> dict[str, float]:
    folder.mkdir()
    with litellm_proxy(folder, provider_port) as (running, call, _):
        found = {"start": running.start_seconds, "ready": running.memory_mb}
        _first_call(running, call, found)
        if calls:
            _many(running, call, scale.calls, "proxy", found)
            found["after"] = running.memory_mb
    return found


def _first_call(running: Running, call: Call, found: dict[str, float]) -> None:
    begun = time.perf_counter()
    warm(running, call)
    found["first call"] = time.perf_counter() - begun
    time.sleep(_SETTLE_S)
    found["first"] = running.memory_mb


def _many(running: Running, call: Call, count: int, way: str, found: dict[str, float]) -> None:
    over_tenants = Call(call.method, call.path, call.headers, call.body, TENANTS)
    send_calls(running.port, over_tenants, CLIENTS, count // 10)
    found[f"{way} early"] = running.memory_mb
    send_calls(running.port, over_tenants, CLIENTS, count - count // 10)
    found[f"{way} late"] = running.memory_mb


_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
