"""Prices of models by the token, and what a call costs by them.

Promises: money is decimal, never a float. A model without a price has no cost, which is not a cost of 0. Prices are
those of the provider's standard service: discounts, other tiers, and what is not billed by the token are not in them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from domain.calls.capabilities import CapabilityTable
from domain.calls.tokens import Tokens

ANY_MODEL = "*"
"""Stands, in own prices, for every model of a provider that has no price of its own."""


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one model, by the token. cached, cache_creation: of such input; None where it costs what input does.

    reasoning: of such output; None where it costs what output does. input_max, output_max: the most tokens of a request
    and of an answer, if known.
    above: prices that apply to a call with more input than so many tokens, the highest first.
    """

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_creation: Decimal | None = None
    reasoning: Decimal | None = None
    output_max: int | None = None
    input_max: int | None = None
    above: tuple[tuple[int, "Price"], ...] = ()

    def cost(self, tokens: Tokens) -> Decimal:
        """Return the cost of a call."""
        price = next((price for more_than, price in self.above if tokens.input > more_than), self)
        plain = tokens.input - tokens.cached - tokens.cache_creation
        return (
            plain * price.input
            + tokens.cached * _or(price.cached, price.input)
            + tokens.cache_creation * _or(price.cache_creation, price.input)
            + (tokens.output - tokens.reasoning) * price.output
            + tokens.reasoning * _or(price.reasoning, price.output)
        )

    def most(self, tokens: Tokens) -> Decimal:
        """Return the most that a call with so many tokens may cost, whatever its input turns out to be."""
        prices = [self, *(price for _, price in self.above)]
        read = max(max(one.input, _or(one.cached, one.input), _or(one.cache_creation, one.input)) for one in prices)
        written = max(max(one.output, _or(one.reasoning, one.output)) for one in prices)
        return tokens.input * read + tokens.output * written


def _or(price: Decimal | None, other: Decimal) -> Decimal:
    return other if price is None else price


Prices = Mapping[tuple[str, str], Price]
"""By provider and its name of the model."""


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The prices in force. currency: of all of them. source: where they are from, for people. own: the operator's.

    capabilities: of models, from the table that the shipped prices are from.
    """

    currency: str = "USD"
    source: str = "none"
    own: Prices = field(default_factory=dict)
    shipped: Prices = field(default_factory=dict)
    capabilities: CapabilityTable = field(default_factory=dict)

    def of(self, provider: str, model: str) -> Price | None:
        """Return the price of a model, by the provider's name of it; None where there is none."""
        for place, prices in (((provider, model), self.own), ((provider, ANY_MODEL), self.own)):
            if (own := prices.get(place)) is not None:
                known = self.shipped.get((provider, model))
                if known is None:
                    return own
                return replace(own, output_max=own.output_max or known.output_max, input_max=known.input_max)
        return self.shipped.get((provider, model))

    def knows(self, provider: str, model: str) -> bool:
        """Whether a model has a price under its own name."""
        return (provider, model) in self.own or (provider, model) in self.shipped
