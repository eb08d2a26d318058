"""Tokens and cost of calls, counted by hour, tenant, provider, version, service key and model, and the pages of them.

Promises: what a provider did not say is not counted as 0: calls without counts are in `unknown`, and calls without a
cost, because their tokens or the price of their model are not known, in `unpriced`. Money is decimal.
Pages are ordered by `place`, as those of `usage` are, and a cursor stays valid for ever.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple, Protocol, Self

from domain.audit.usage import HOUR
from domain.calls.tokens import Tokens
from domain.credentials.providers import NAME_PATTERN

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT = "(?:[1-9a-f][0-9a-f]|0[1-9a-f])"
CURSOR_PATTERN = (
    "^([0-9]{1,7})[.]([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
    f"[.]({NAME_PATTERN})[.]([0-9]{{1,18}})[.]({_TEXT}{{0,512}})[.]({_TEXT}{{0,800}})[.]([A-Z]{{3}})$"
)
"""The form of a cursor, in which names are the hexadecimal digits of their UTF-8. Every text of this form is one."""
_CURSOR = re.compile(CURSOR_PATTERN)


class TokenPlace(NamedTuple):
    """The key of a record, and its place in the order.

    version: of the credential, or `GLOBAL_KEY`. access_key: the name of the access key or of the key of the settings
    that called; "" for callers that have none. model: its name in the catalogue, or, on the provider's own API, in the
    price table; "" for one that neither has. currency: of the cost.
    """

    hour: datetime
    tenant_id: str
    provider: str
    version: int
    access_key: str
    model: str
    currency: str

    def cursor(self) -> str:
        """Return the place as a cursor of letters, digits, dots and hyphens. Hours are counted from 1970 UTC."""
        names = f"{self.access_key.encode().hex()}.{self.model.encode().hex()}.{self.currency}"
        return f"{(self.hour - _EPOCH) // HOUR}.{self.tenant_id}.{self.provider}.{self.version}.{names}"

    @classmethod
    def read(cls, cursor: str) -> Self:
        """Return the place that a cursor stands for. Raises ValueError."""
        match = _CURSOR.fullmatch(cursor)
        if match is None:
            raise ValueError("not a place among the records of tokens")
        hour, tenant_id, provider, version, key, model, currency = match.groups()
        begins = _EPOCH + int(hour) * HOUR
        return cls(begins, tenant_id, provider, int(version), _named(key), _named(model), currency)


def _named(digits: str) -> str:
    return bytes.fromhex(digits).decode("utf-8", "replace")


class Spent(NamedTuple):
    """The tokens and cost of one call. tokens, cost: None where not known. The other members: as in `TokenPlace`."""

    access_key: str
    model: str
    tokens: Tokens | None
    cost: Decimal | None
    currency: str


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """The calls of one place. unknown: without token counts. unpriced: without a cost. cost: of all other calls."""

    place: TokenPlace
    calls: int
    failures: int
    unknown: int
    unpriced: int
    tokens: Tokens
    cost: Decimal
    last_used_at: datetime

    def plus(self, other: "TokenRecord") -> "TokenRecord":
        """Return the calls of both, which have one place."""
        return TokenRecord(
            self.place,
            self.calls + other.calls,
            self.failures + other.failures,
            self.unknown + other.unknown,
            self.unpriced + other.unpriced,
            Tokens(*map(sum, zip(self.tokens, other.tokens, strict=True))),
            self.cost + other.cost,
            max(self.last_used_at, other.last_used_at),
        )


@dataclass(frozen=True, slots=True)
class TokenFilter:
    """The records to read. since, until: bounds for the start of the hour; `since` is included, `until` is not."""

    tenant_id: str | None = None
    provider: str | None = None
    version: int | None = None
    access_key: str | None = None
    model: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: TokenPlace | None = None
    limit: int = 100


class TokenUsage(Protocol):
    """The records of tokens."""

    def page(self, wanted: TokenFilter) -> Sequence[TokenRecord]:
        """Return the records that match, oldest hour first. Raises StoreUnavailableError."""
        ...
