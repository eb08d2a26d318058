"""The limits of an access key, and how its events hold them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from domain.access.budgets import BudgetKind
from domain.events.event_definition import FIRST_FORM, Members, MembersChange


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """How much one key may do. requests_per_minute, concurrent_calls: counted by each process of the service.

    0: no limit. tokens_per_day, spend_per_month: budgets over all nodes (`budgets`); None: no limit.
    """

    requests_per_minute: int = 0
    concurrent_calls: int = 0
    tokens_per_day: int = field(default=0, repr=False)  # rules for people are known by their `repr`, and have none
    spend_per_month: Decimal | None = field(default=None, repr=False)

    @property
    def budgets(self) -> Mapping[BudgetKind, Decimal]:
        """The budgets, by what they count."""
        tokens = {BudgetKind.TOKENS_PER_DAY: Decimal(self.tokens_per_day)} if self.tokens_per_day else {}
        spend = self.spend_per_month
        return tokens if spend is None else {**tokens, BudgetKind.SPEND_PER_MONTH: spend}


MONEY_PATTERN = "(?:0|[1-9][0-9]{0,11})(?:[.][0-9]{1,9})?"
_MONEY = re.compile(MONEY_PATTERN)


def money_of(text: str) -> Decimal:
    """Return the amount that a text states, such as 250.00. Raises ValueError."""
    if not _MONEY.fullmatch(text):
        raise ValueError("must be an amount such as 250.00: up to 12 digits, and 9 after the point")
    return Decimal(text)


def money_text(amount: Decimal | None) -> str | None:
    """Return an amount as `money_of` reads it."""
    return None if amount is None else format(amount, "f")


def without_budgets(members: Members) -> Members:
    """Return the members of an access key's event from before there were budgets, with none."""
    return {**members, "tokens_per_day": 0, "spend_per_month": None}


def as_before_budgets(members: Members) -> Members:
    """Return the members of an access key's event without its budgets."""
    return {name: value for name, value in members.items() if name not in {"tokens_per_day", "spend_per_month"}}


def money_in(text: str | None) -> Decimal | None:
    """Return the amount in an event. Raises ValueError."""
    return None if text is None else money_of(text)


def limits_in(event: Any) -> KeyLimits:
    """Return the limits in an event of an access key. Raises ValueError."""
    counted = (event.requests_per_minute, event.concurrent_calls, event.tokens_per_day)
    return KeyLimits(*counted, money_in(event.spend_per_month))


WITH_BUDGETS = (MembersChange(FIRST_FORM, without_budgets, as_before_budgets),)
"""Class version 1 of the events of access keys had no budgets. It is older than the first release."""
