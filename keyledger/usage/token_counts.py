"""Tokens and cost that were counted since the last flush. Not for several threads: the meter holds its lock.

Refuses: to grow without bound. Callers of a pattern of models, and answers of tenants' own servers, can name any model;
further ones than `MODELS` an hour and process are counted without a name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from domain.audit.token_usage import Spent, TokenPlace, TokenRecord
from domain.calls.tokens import Tokens

MODELS = 1_000

_Place = tuple[datetime, str, str, int]


@dataclass(slots=True)
class _Count:
    """The calls of one place."""

    last_used_at: datetime
    calls: int = 0
    failures: int = 0
    unknown: int = 0
    unpriced: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    cache_creation: int = 0
    reasoning: int = 0
    cost: Decimal = Decimal(0)

    def add(self, spent: Spent, *, failed: bool) -> None:
        """Add one call."""
        self.calls += 1
        self.failures += failed
        if spent.tokens is None:
            self.unknown += 1
        else:
            self.input += spent.tokens.input
            self.output += spent.tokens.output
            self.cached += spent.tokens.cached
            self.cache_creation += spent.tokens.cache_creation
            self.reasoning += spent.tokens.reasoning
        if spent.cost is None:
            self.unpriced += 1
        else:
            self.cost += spent.cost

    def record(self, place: TokenPlace) -> TokenRecord:
        """Return the calls as a record."""
        tokens = Tokens(self.input, self.output, self.cached, self.cache_creation, self.reasoning)
        return TokenRecord(
            place, self.calls, self.failures, self.unknown, self.unpriced, tokens, self.cost, self.last_used_at
        )


class TokenCounts:
    """The counts. room: for so many places."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._counts: dict[TokenPlace, _Count] = {}
        self._models: set[str] = set()

    def __len__(self) -> int:
        """Return for how many places there are counts."""
        return len(self._counts)

    def begin_hour(self) -> None:
        """Forget which models were named in the hour that has ended."""
        self._models.clear()

    def add(self, place: _Place, spent: Spent, now: datetime, *, failed: bool) -> bool:
        """Count a call of a credential in an hour. Return whether there was room for it."""
        model = spent.model
        if model not in self._models:
            if len(self._models) >= MODELS:
                model = ""
            else:
                self._models.add(model)
        whole = TokenPlace(*place, spent.access_key, model, spent.currency)
        count = self._counts.get(whole)
        if count is None:
            if len(self._counts) >= self.room:
                return False
            count = self._counts[whole] = _Count(now)
        count.add(spent, failed=failed)
        count.last_used_at = max(count.last_used_at, now)
        return True

    def take(self) -> Sequence[TokenRecord]:
        """Return what was counted, and begin again."""
        counts, self._counts = self._counts, {}
        return [count.record(place) for place, count in counts.items()]
