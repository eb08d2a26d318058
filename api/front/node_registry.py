"""The metrics of a node: those of this process, with what its other processes reported.

Promises: counters and histograms are sums over all processes, those that have ended included, so that a sum never goes
back while the node runs, whichever process shows it; gauges are sums over the processes that live. An age is that of
the youngest. Each process reports about once a second, so what the others counted may be a second old. Its reports
never overlap and none is older than the one before, although the event loop and threads make them.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

_LASTING = frozenset({"counter", "histogram", "summary"})
_AGE = "_age_seconds"
_CREATED = "_created"
_Labels = tuple[tuple[str, str], ...]


class SharedReport(Protocol):
    """The last report of another process."""

    @property
    def text(self) -> bytes:
        """Its last report."""
        ...

    @property
    def live(self) -> bool:
        """Whether the process has not ended since."""
        ...


@dataclass(slots=True)
class _Family:
    """One metric with its samples, by name and labels."""

    name: str
    kind: str
    text: str
    unit: str
    samples: dict[tuple[str, _Labels], float] = field(default_factory=dict)

    def add(self, sample: str, labels: _Labels, value: float) -> None:
        """Add a sample to what other processes have of it."""
        key = (sample, labels)
        if key not in self.samples:
            self.samples[key] = value
        elif sample.endswith(_CREATED):
            self.samples[key] = min(value, self.samples[key])
        elif sample.endswith(_AGE):
            known = [age for age in (value, self.samples[key]) if age >= 0]
            self.samples[key] = min(known, default=value)
        else:
            self.samples[key] += value

    def metric(self) -> Metric:
        """Return it as the library's."""
        metric = Metric(self.name, self.text, self.kind, self.unit)
        for (sample, labels), value in self.samples.items():
            metric.add_sample(sample, dict(labels), value)
        return metric


class NodeRegistry(CollectorRegistry):
    """A registry of one process, which shows the metrics of its node. `report` never blocks."""

    def __init__(
        self, others: Callable[[], Iterable[SharedReport]] = tuple, share: Callable[[bytes], None] = lambda report: None
    ) -> None:
        """others: returns what the other processes of the node reported last. share: shows a report to them."""
        super().__init__(auto_describe=True)
        self._others = others
        self._share = share
        self._reporting = threading.Lock()
        self._before: list[_Family] = []

    def continue_from(self, report: bytes) -> None:
        """Count on from the last report of the process that this one replaces; b"" if there was none."""
        self._before = [family for family in _families_in(report) if family.kind in _LASTING]

    def report(self) -> None:
        """Show the metrics of this process, and of those that it continues, to the others.

        Does nothing while another thread does so for a scrape.
        """
        if self._reporting.acquire(blocking=False):
            try:
                self._share(_report_of(self._own()))
            finally:
                self._reporting.release()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the node."""
        with self._reporting:
            families = self._own()
            self._share(_report_of(families))  # what was shown once is never less again
        for report in self._others():
            _add(families, (one for one in _families_in(report.text) if report.live or one.kind in _LASTING))
        for family in families.values():
            yield family.metric()

    def _own(self) -> dict[str, _Family]:
        families: dict[str, _Family] = {}
        for metric in super().collect():
            family = families[metric.name] = _Family(metric.name, metric.type, metric.documentation, metric.unit)
            for sample in metric.samples:
                family.samples[sample.name, tuple(sample.labels.items())] = sample.value
        _add(families, self._before)
        return families


def _add(families: dict[str, _Family], more: Iterable[_Family]) -> None:
    for other in more:
        family = families.setdefault(other.name, _Family(other.name, other.kind, other.text, other.unit))
        for (sample, labels), value in other.samples.items():
            family.add(sample, labels, value)


def _report_of(families: dict[str, _Family]) -> bytes:
    told = [
        (one.name, one.kind, one.text, one.unit, [(*key, value) for key, value in one.samples.items()])
        for one in families.values()
    ]
    return json.dumps(told, separators=(",", ":")).encode()


def _families_in(report: bytes) -> Iterator[_Family]:
    for name, kind, text, unit, samples in json.loads(report or b"[]"):
        read = {(sample, tuple((k, v) for k, v in labels)): value for sample, labels, value in samples}
        yield _Family(name, kind, text, unit, read)
