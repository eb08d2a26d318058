"""Metrics for Prometheus. No label contains a tenant, a key or any other value that a client chose."""

from collections.abc import Callable
from typing import Annotated, cast

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from domain.credentials.resolution import Receipt
from domain.errors import ErrorCode


class Metrics:
    """The counters of one application, in its own registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the counters. Raises ValueError when the registry has them already."""
        self._requests = Counter(
            "keyledger_http_requests", "Answered requests.", ("method", "route", "status"), registry=registry
        )
        self._durations = Histogram(
            "keyledger_http_request_duration_seconds",
            "Time from the first byte of a request to the last of its answer.",
            ("method", "route"),
            registry=registry,
        )
        self._of_requests: dict[tuple[str, str, int | None], tuple[Counter, Histogram]] = {}
        self._resolutions = Counter(
            "keyledger_credential_resolutions",
            "Calls to models by whose key served them and how it ended.",
            ("provider", "source", "outcome"),
            registry=registry,
        )
        self._failed_authentications = Counter(
            "keyledger_failed_authentications",
            "Requests without a valid key, by the status of the answer.",
            ("status",),
            registry=registry,
        )
        self._lockouts = Counter(
            "keyledger_address_lockouts", "Addresses locked out for their wrong keys.", registry=registry
        )
        self._delayed = Gauge(
            "keyledger_delayed_answers", "Answers to requests without a valid key that are delayed.", registry=registry
        )

    def delayed_answers(self, count: Callable[[], int]) -> None:
        """Measure how many answers are delayed, whenever the metrics are read."""
        self._delayed.set_function(count)

    def failed_authentication(self, *, locked_out: bool) -> None:
        """Count a request without a valid key."""
        self._failed_authentications.labels("429" if locked_out else "401").inc()

    def locked_out(self) -> None:
        """Count an address that was locked out."""
        self._lockouts.inc()

    def request(self, method: str, route: str, status: int | None, seconds: float) -> None:
        """Count an answered request. `status` None: the connection ended before there was an answer."""
        told = self._of_requests.get((method, route, status))
        if told is None:  # as many as there are routes, methods and statuses
            count = self._requests.labels(method, route, "none" if status is None else str(status))
            told = self._of_requests[method, route, status] = (count, self._durations.labels(method, route))
        told[0].inc()
        told[1].observe(seconds)

    def served(self, receipt: Receipt) -> None:
        """Count a call that a key served."""
        self._resolutions.labels(receipt.provider, receipt.source.value, "served").inc()

    def native(self, receipt: Receipt, status: int) -> None:
        """Count a native call that the provider answered with `status`."""
        if status < 400:
            self.served(receipt)
        else:
            self._resolutions.labels(receipt.provider, receipt.source.value, _refused(status)).inc()

    def failed(self, provider: str, code: str) -> None:
        """Count a call that ended in an error with this code."""
        self._resolutions.labels(provider, "none" if code == "no-credential" else "unknown", code).inc()


def _refused(status: int) -> str:
    if status == 429:
        return ErrorCode.PROVIDER_RATE_LIMITED.value
    return (ErrorCode.PROVIDER_REFUSED if status < 500 else ErrorCode.PROVIDER_UNAVAILABLE).value


def _metrics(request: Request) -> Metrics:
    return cast(Metrics, request.app.state.metrics)


MetricsOf = Annotated[Metrics, Depends(_metrics)]
