"""Tokens and cost of calls, counted by hour, tenant, provider, version, service key and model, and the pages of them.

Promises: what a provider did not say is not counted as 0: calls without counts are in `unknown`, and calls without a
cost, because their tokens or the price of their model are not known, in `unpriced`. Money is decimal.
Pages are ordered by `place`, as those of `usage` are, and a cursor stays valid for ever.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple, Protocol, Self

from domain.audit.usage import HOUR
from domain.calls.tokens import Tokens

CURSOR_PATTERN = "^[A-Za-z0-9_-]{1,1000}$"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TENANT = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HOUR_MAX, _VERSION_MAX = 10**7, 10**18
_NOT_ONE = "not a place among the records"


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
        """Return the place as a cursor of letters, digits, hyphens and underscores."""
        text = json.dumps([(self.hour - _EPOCH) // HOUR, *self[1:]], separators=(",", ":"))
        return urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def read(cls, cursor: str) -> Self:
        """Return the place that a cursor stands for. Raises ValueError."""
        try:
            values = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        except RecursionError:
            values = None
        if not isinstance(values, list) or len(values) != len(cls._fields):
            raise ValueError(_NOT_ONE)
        hour, tenant_id, provider, version, *texts = values
        numbers = (hour, _HOUR_MAX), (version, _VERSION_MAX)
        if not all(type(one) is int and 0 <= one <= most for one, most in numbers):
            raise ValueError(_NOT_ONE)
        texts = [tenant_id, provider, *texts]
        if not all(isinstance(one, str) and one.isascii() and (one.isprintable() or not one) for one in texts):
            raise ValueError(_NOT_ONE)
        if not _TENANT.fullmatch(tenant_id):
            raise ValueError(_NOT_ONE)
        return cls(_EPOCH + hour * HOUR, tenant_id, provider, version, *texts[2:])


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
