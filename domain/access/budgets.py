"""Budgets of access keys: tokens a day and spend a month, in UTC, over all nodes.

Promises: what a call may use is reserved before it is sent, at the most that it can use; what it used is taken from the
budget when it ends. Where a provider does not say what a call used, or the caller leaves before it does, the reserved
amount is taken, so that no one gains by not knowing. A node reserves out of a block that it has from the database, so
all nodes together never give out more than a budget has. A call for which too little is left is still made if something
is left and no other call of the key is under way in its process: so a budget is exceeded by at most one call a process.
Refuses: models without a price where spend is limited.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, Protocol

from domain.calls.call_admission import Asked
from domain.errors import AccessError, ErrorCode


class BudgetKind(StrEnum):
    """The kind of a budget, named like the limit of the access key."""

    TOKENS_PER_DAY = "tokens_per_day"
    SPEND_PER_MONTH = "spend_per_month"


class BudgetPlace(NamedTuple):
    """One budget in one period. begins: its first day, in UTC. unit: "tokens", or the currency."""

    access_key: str
    kind: BudgetKind
    begins: date
    unit: str

    @property
    def ends(self) -> datetime:
        """The moment at which the next period begins."""
        begins = datetime(self.begins.year, self.begins.month, self.begins.day, tzinfo=UTC)
        if self.kind is BudgetKind.TOKENS_PER_DAY:
            return begins + timedelta(days=1)
        return (begins + timedelta(days=32)).replace(day=1)


class Granted(NamedTuple):
    """The answer of the database to a node. held: what the node may still use. others: what is used or held elsewhere.

    others_spent: the part of it that is used.
    """

    held: Decimal
    others: Decimal
    others_spent: Decimal


class BudgetBlocks(Protocol):
    """The budgets in the database. Every write states a node's whole part, so it may be repeated."""

    def settle(self, place: BudgetPlace, limit: Decimal, spent: Decimal, wanted: Decimal) -> Granted:
        """Store what this node has used, and hold what it wants, as far as the budget has it.

        What is held lapses after `HELD_S`. Raises StoreUnavailableError.
        """
        ...


HELD_S = 60.0
"""Seconds for which a node holds a block that it does not ask for again."""


def amounts_of(asked: Asked, limits: Mapping[BudgetKind, Decimal]) -> Mapping[BudgetKind, Decimal]:
    """Return the most of each budget that a call may use. Raises AccessError for a model without a price."""
    amounts: dict[BudgetKind, Decimal] = {}
    for kind in limits:
        if kind is BudgetKind.TOKENS_PER_DAY:
            amounts[kind] = Decimal(asked.tokens.input + asked.tokens.output)
        elif asked.price is not None:
            amounts[kind] = asked.price.most(asked.tokens)
        else:
            what = f"The model {asked.model} has" if asked.model else "A request that names no model has"
            detail = (
                f"{what} no price by the token, and this access key has a budget of spend (spend_per_month), which"
                " counts priced models only. Use another model, or have its price set in PRICES_FILE."
            )
            raise AccessError(ErrorCode.MODEL_WITHOUT_PRICE, detail)
    return amounts


def place_of(key: str, kind: BudgetKind, now: datetime, currency: str) -> BudgetPlace:
    """Return a budget in the period of a moment."""
    today = now.astimezone(UTC).date()
    if kind is BudgetKind.TOKENS_PER_DAY:
        return BudgetPlace(key, kind, today, "tokens")
    return BudgetPlace(key, kind, today.replace(day=1), currency)


def used_up(place: BudgetPlace, limit: Decimal, now: datetime) -> AccessError:
    """Return the error for a call after a budget is used up."""
    seconds = max(1, int((place.ends - now).total_seconds()) + 1)
    period = "day" if place.kind is BudgetKind.TOKENS_PER_DAY else "month"
    detail = (
        f"This access key has used the {limit:f} {place.unit} of its {place.kind} since {place.begins} (UTC). Calls are"
        f" admitted again when the next {period} begins, at {place.ends:%Y-%m-%dT%H:%M:%SZ}, or once an administrator"
        " raises the limit."
    )
    return AccessError(ErrorCode.BUDGET_REACHED, detail, seconds)


def taken(place: BudgetPlace, limit: Decimal) -> AccessError:
    """Return the error for a call while the rest of a budget is reserved by others."""
    detail = (
        f"What is left of the {limit:f} {place.unit} of this access key's {place.kind} is reserved by calls under way."
        " Repeat the request when they have ended, or state a smaller limit of tokens in it."
    )
    return AccessError(ErrorCode.BUDGET_REACHED, detail, 2)
