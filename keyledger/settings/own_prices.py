"""The prices that an operator set."""

from typing import NamedTuple

from domain.calls.prices import Prices


class OwnPrices(NamedTuple):
    """The operator's prices, and their currency: three letters, such as EUR (ISO 4217)."""

    currency: str
    prices: Prices
