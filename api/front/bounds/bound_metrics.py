"""Metrics of the bounds, for Prometheus: how often each was reached, and how much is held. No label names a caller."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from api.front.bounds.connections import Connections
from api.front.bounds.reached import Bound
from api.front.bounds.shares import Shares


class BoundMetrics:
    """Registers the metrics, all of which begin at 0. Raises ValueError when the registry has them already."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        reached = Counter(
            "keyledger_bound_reached",
            "Connections and requests that were closed or refused, by the bound that was reached.",
            ("bound",),
            registry=registry,
        )
        self._reached = {bound: reached.labels(bound.value) for bound in Bound}

    def reached(self, bound: Bound) -> None:
        """Count a connection or a request that was closed or refused."""
        self._reached[bound].inc()

    def show(self, connections: Connections, shares: Shares) -> None:
        """Show what is held."""
        held = {
            "keyledger_connections": ("Open connections.", lambda: connections.count),
            "keyledger_connections_unproved": (
                "Open connections that have presented no valid key.",
                lambda: connections.unproved,
            ),
            "keyledger_calls_under_way": ("Calls to models under way.", lambda: shares.calls),
            "keyledger_call_body_bytes": ("Bytes of long bodies of calls that are held.", lambda: shares.bytes),
        }
        for name, (text, value) in held.items():
            Gauge(name, text, registry=self._registry).set_function(value)
