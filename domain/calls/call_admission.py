"""The admission of a call to a model: whose it is, and what of the caller's budgets it may use."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from domain.calls.prices import Price
from domain.calls.tokens import Tokens
from domain.credentials.admission import Admission


@dataclass(frozen=True, slots=True)
class Asked:
    """The most that a call may use. model: for errors. price: None for a model without one, in this currency."""

    tokens: Tokens
    model: str
    price: Price | None
    currency: str


class Reservation(Protocol):
    """The amounts that were reserved for one call."""

    def settle(self, tokens: Tokens | None, cost: Decimal | None) -> None:
        """Take what the call used, and give the rest back. None: not known. Does nothing after the first time."""
        ...


class CallAdmission(Admission, Protocol):
    """The admission of one call."""

    @property
    def is_budgeted(self) -> bool:
        """Whether the caller, once admitted, has budgets."""
        ...

    async def reserve(self, asked: Asked) -> Reservation | None:
        """Reserve what the call may use, once it was admitted; None for a caller without budgets.

        Raises AccessError, StoreUnavailableError.
        """
        ...
