"""One scrape shows the sums over all processes of a node, and none of them goes back when a process ends."""

from dataclasses import dataclass
from threading import Thread

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from api.front.node_registry import NodeRegistry


@dataclass
class Written:
    text: bytes
    live: bool = True


class Process:
    """A process with one metric of each kind."""

    def __init__(self, *others: Written) -> None:
        self.shared = b""
        self.registry = NodeRegistry(lambda: others, self.share)
        self.calls = Counter("calls", "Calls.", ("route",), registry=self.registry)
        self.times = Histogram("times", "Times.", buckets=(1, 2), registry=self.registry)
        self.open = Gauge("open", "Open.", registry=self.registry)
        self.age = Gauge("checkpoint_age_seconds", "Age.", registry=self.registry)
        self.age.set(-1)

    def share(self, report: bytes) -> None:
        self.shared = report

    def report(self) -> Written:
        self.registry.report()
        return Written(self.shared)

    def shown(self) -> dict[str, float]:
        text = generate_latest(self.registry).decode()
        return {
            sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


def test_counters_histograms_and_gauges_of_live_processes_are_added() -> None:
    other = Process()
    other.calls.labels("/a").inc(3)
    other.calls.labels('/"odd"\n').inc()
    other.times.observe(1.5)
    other.open.set(7)
    one = Process(other.report())
    one.calls.labels("/a").inc(2)
    one.times.observe(0.5)
    one.open.set(1)
    shown = one.shown()
    assert shown["calls_total /a"] == 5
    assert shown['calls_total /"odd"\n'] == 1
    assert (shown["times_bucket 1.0"], shown["times_bucket 2.0"], shown["times_bucket +Inf"]) == (1, 2, 2)
    assert (shown["times_sum"], shown["times_count"]) == (2.0, 2)
    assert shown["open"] == 8


def test_of_a_process_that_ended_only_what_it_counted_is_left() -> None:
    other = Process()
    other.calls.labels("/a").inc(3)
    other.open.set(7)
    shown = Process(Written(other.report().text, live=False)).shown()
    assert (shown["calls_total /a"], shown["open"]) == (3, 0)


def test_the_event_loop_writes_no_report_into_that_of_a_scrape_in_a_thread() -> None:
    steps = list[str]()

    def share(report: bytes) -> None:
        steps.append("begun")
        if len(steps) == 1:
            beat = Thread(target=registry.report)
            beat.start()
            beat.join()
        steps.append("ended")

    registry = NodeRegistry(share=share)
    generate_latest(registry)
    registry.report()
    assert steps == ["begun", "ended"] * 2


def test_a_process_counts_on_from_the_one_that_it_replaces() -> None:
    first = Process()
    first.calls.labels("/a").inc(3)
    first.open.set(7)
    second = Process()
    second.registry.continue_from(first.report().text)
    second.calls.labels("/a").inc()
    third = Process()
    third.registry.continue_from(second.report().text)
    assert (third.shown()["calls_total /a"], third.shown()["open"]) == (4, 0)
    third.registry.continue_from(b"")
    assert "calls_total /a" not in third.shown()


def test_what_a_process_shows_it_has_shared_before() -> None:
    one = Process()
    one.calls.labels("/a").inc(3)
    assert one.shown()["calls_total /a"] == 3
    assert Process(Written(one.shared, live=False)).shown()["calls_total /a"] == 3


def test_an_age_is_that_of_the_youngest_and_unknown_only_if_none_knows_it() -> None:
    def age(*ages: float) -> float:
        reports = []
        for one in ages:
            process = Process()
            process.age.set(one)
            reports.append(process.report())
        return Process(*reports).shown()["checkpoint_age_seconds"]

    assert age(-1) == -1
    assert age(3, -1) == 3
    assert age(3, 2) == 2
    assert age(0, 5) == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=20))
def test_whatever_ends_no_sum_goes_back(steps: list[tuple[bool, int]]) -> None:
    slots = [Process(), Process()]
    ended: list[Written] = []
    before = 0.0
    for ends, number in steps:
        slot = number % 2
        slots[slot].calls.labels("/a").inc(number)
        if ends:  # without a last report: it is killed right after one
            last = slots[slot].report()
            slots[slot] = Process()
            slots[slot].registry.continue_from(last.text)
        scraper = Process(slots[0].report(), slots[1].report(), *ended)
        now = scraper.shown().get("calls_total /a", 0.0)
        assert now >= before
        before = now
    assert before == sum(number for _, number in steps)
