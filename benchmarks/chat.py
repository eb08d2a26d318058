"""A chat through LiteLLM, against a bare endpoint around the same library and against LiteLLM's own proxy.

All ask the same provider, which answers at once, so what is compared is what each adds. Added latency is the median
time through a contestant minus the median time straight to the provider.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.bare_endpoints import bare_litellm, bare_pass_through
from benchmarks.frame import (
    Contestant,
    Goal,
    Measured,
    Rounds,
    Row,
    Scale,
    Section,
    Spread,
    in_turn,
    optional,
    processor_ratio,
    rates,
    throughput_ratio,
)
from benchmarks.load import Call, drive
from benchmarks.peers import litellm_proxy, portkey, smg
from benchmarks.processes import Running
from benchmarks.provider import provider
from benchmarks.service import (
    OURS,
    PROCESSES,
    completion,
    pass_through,
    processes_named,
    service,
    set_credentials,
    settle,
    warm,
)

TENANTS = 100
ADDED, TO_PROXY = Goal(1.3, at_most=True), Goal(4)
TO_BARE_PASS_THROUGH, TO_PORTKEY = Goal(0.5), Goal(1.5)
TO_SMG = {1: Goal(0.7), 8: Goal(0.7), 64: Goal(1.0)}
STREAMS_TO_SMG = {1: Goal(1.0), 8: Goal(1.2), 64: Goal(1.5)}
PROCESSOR_TO_SMG = {clients: Goal(value, at_most=True) for clients, value in ((1, 1.2), (8, 1.1), (64, 0.8))}
"""Goals by the number of clients, for one process."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to the provider. server: whose processor time is measured, if any."""

    port: int
    call: Call
    server: Running | None = None

    def drive(self, clients: int, seconds: float, warm_up: float) -> Measured:
        """Send the call from so many clients for so long."""
        before = self.server.processor_seconds if self.server is not None else 0.0
        found = drive(self.port, self.call, clients, seconds, warm_up)
        if self.server is None:
            return found
        spent = self.server.processor_seconds - before
        return replace(found, processor_us=1e6 * spent / (found.per_second * (warm_up + seconds)))


Ways = dict[str, Way]


def run_chat(scale: Scale, folder: Path) -> Section:
    """Measure calls through LiteLLM, plain and streaming."""
    section = Section("chat: a chat completion through LiteLLM, with a provider that answers at once")
    with provider() as provider_port, ExitStack() as opened:
        ours = opened.enter_context(_ours(folder, provider_port))
        bare = opened.enter_context(bare_litellm(folder, provider_port))
        proxy: tuple[Running, Call, Call] | None = None
        with optional(section, "LiteLLM's proxy"):
            proxy = opened.enter_context(litellm_proxy(folder, provider_port))
        for streaming in (False, True):
            ways: Ways = {
                "direct": Way(provider_port, completion("/v1/chat/completions", streaming=streaming)),
                "ours": Way(ours.port, _over_tenants(completion(OURS, streaming=streaming)), ours),
                "bare": Way(bare.port, completion("/", streaming=streaming), bare),
            }
            warm(ours, ways["ours"].call)
            warm(bare, ways["bare"].call)
            if proxy is not None:
                server, *calls = proxy
                warm(server, calls[streaming])
                ways["proxy"] = Way(server.port, calls[streaming], server)
            for clients in scale.llm_clients:
                _chat_rows(section, scale, ways, clients, "streaming" if streaming else "plain")
    return section


def run_pass_through(scale: Scale, folder: Path) -> Section:
    """Measure calls through the native pass-through, plain and streaming."""
    section = Section("passthrough: a chat completion through the native pass-through")
    with provider() as provider_port, ExitStack() as opened:
        ours = {
            processes_named(count): opened.enter_context(_ours(folder, provider_port, count))
            for count in sorted({1, PROCESSES})
        }
        with optional(section, "pass-through"):
            bare = opened.enter_context(bare_pass_through(folder, provider_port))
            peers: dict[bool, Ways] = {False: {}, True: {}}
            with optional(section, "Portkey"):
                gateway, call = opened.enter_context(portkey(folder, provider_port))
                warm(gateway, call)
                # Its streams fail on the Node versions it was tried on.
                peers[False]["Portkey"] = Way(gateway.port, call, gateway)
            with optional(section, "smg"):
                rust, *calls = opened.enter_context(smg(folder, provider_port))
                for streaming in (False, True):
                    warm(rust, calls[streaming])
                    peers[streaming]["smg"] = Way(rust.port, calls[streaming], rust)
            for streaming in (False, True):
                ways: Ways = {
                    name: Way(running.port, _over_tenants(pass_through(running, streaming=streaming)), running)
                    for name, running in ours.items()
                }
                ways["bare"] = Way(bare.port, completion("/", streaming=streaming), bare)
                ways |= peers[streaming]
                for clients in scale.llm_clients:
                    _pass_through_rows(section, scale, ways, clients, "streaming" if streaming else "plain", list(ours))
    return section


@contextmanager
def _ours(folder: Path, provider_port: int, processes: int = 1) -> Iterator[Running]:
    place = folder / f"ours-{processes}"
    place.mkdir()
    with service(place, provider_port=provider_port, processes=processes) as running:
        set_credentials(running, TENANTS)
        settle(running, processes)
        yield running


def _over_tenants(call: Call) -> Call:
    return Call(call.method, call.path, call.headers, call.body, TENANTS)


def _measure(scale: Scale, ways: Ways, clients: int) -> dict[str, list[Measured]]:
    contestants: dict[str, Contestant] = {
        name: partial(way.drive, clients, scale.seconds, scale.warm_up) for name, way in ways.items()
    }
    return in_turn(contestants, scale.rounds)


def _chat_rows(section: Section, scale: Scale, ways: Ways, clients: int, kind: str) -> None:
    found = _measure(scale, ways, clients)
    beside = rates(found)
    added = _added(found["ours"], found["bare"], found["direct"])
    section.rows.append(Row(f"{kind}, added p50 to a bare endpoint, clients: {clients}", added, ADDED, beside))
    if "proxy" in found:
        ratio = throughput_ratio(found["ours"], found["proxy"])
        section.rows.append(Row(f"{kind}, calls/s to LiteLLM's proxy, clients: {clients}", ratio, TO_PROXY, beside))


def _pass_through_rows(section: Section, scale: Scale, ways: Ways, clients: int, kind: str, ours: list[str]) -> None:
    found = _measure(scale, ways, clients)
    beside = rates(found)
    for name in ours:
        ratio = throughput_ratio(found[name], found["bare"])
        what = f"{kind}, calls/s to a bare pass-through, {name}, clients: {clients}"
        section.rows.append(Row(what, ratio, TO_BARE_PASS_THROUGH, beside))
        if "Portkey" in found:
            ratio = throughput_ratio(found[name], found["Portkey"])
            what = f"{kind}, calls/s to Portkey, {name}, clients: {clients}"
            section.rows.append(Row(what, ratio, TO_PORTKEY, beside))
    if "smg" in found:
        goals, one = STREAMS_TO_SMG if kind == "streaming" else TO_SMG, ours[0]
        ratio = throughput_ratio(found[one], found["smg"])
        section.rows.append(
            Row(f"{kind}, calls/s to smg, {one}, clients: {clients}", ratio, goals.get(clients), beside)
        )
        spent = processor_ratio(found[one], found["smg"])
        what = f"{kind}, processor time to smg, {one}, clients: {clients}"
        goal = PROCESSOR_TO_SMG.get(clients) if kind == "plain" else None
        section.rows.append(Row(what, spent, goal, beside))


def _added(ours: Rounds, bare: Rounds, direct: Rounds) -> Spread:
    return Spread.of(
        [
            (one.p50_ms - straight.p50_ms) / max(other.p50_ms - straight.p50_ms, 0.01)
            for one, other, straight in zip(ours, bare, direct, strict=True)
        ]
    )
