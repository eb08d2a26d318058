"""Token counts as metrics of one process, added at each flush. No label holds a tenant, a caller or a model."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter

from domain.audit.token_usage import TokenRecord
from domain.calls.tokens import Tokens


class TokenMetrics:
    """The counters, in a registry that does not have them yet."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tokens = Counter(
            "keyledger_tokens", "Tokens of calls, as providers counted them.", ("provider", "kind"), registry=registry
        )
        self._unknown = Counter(
            "keyledger_calls_without_tokens",
            "Calls whose provider sent no token counts that can be used.",
            ("provider",),
            registry=registry,
        )
        self._unpriced = Counter(
            "keyledger_calls_without_cost", "Calls whose cost is not known.", ("provider",), registry=registry
        )

    def add(self, records: Iterable[TokenRecord]) -> None:
        """Add what was counted since the last time."""
        for record in records:
            provider = record.place.provider
            for kind, count in zip(Tokens._fields, record.tokens, strict=True):
                if count:
                    self._tokens.labels(provider, kind).inc(count)
            self._unknown.labels(provider).inc(record.unknown)
            self._unpriced.labels(provider).inc(record.unpriced)
