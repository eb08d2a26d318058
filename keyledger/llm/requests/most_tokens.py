"""The most tokens that a request can use, for the budgets of access keys.

Promises: text has no more tokens than bytes. What a request only refers to (images and files by address or id, earlier
responses, tools that the provider runs) is not counted here, and neither is an answer whose length neither the request
nor the price table limits: that is taken to have `OUTPUT_UNKNOWN` tokens.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from domain.calls.prices import Price
from domain.calls.tokens import TOKENS_MAX, Tokens

OUTPUT_UNKNOWN = 32_768
INPUT_UNKNOWN = 1_000_000
"""Tokens of a body whose length is not known before it was sent."""
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_ANSWERS_MAX = 128


class Most(NamedTuple):
    """The most that a request can use. input: of tokens. output: of tokens in each answer; None if it does not say."""

    input: int
    output: int | None
    answers: int = 1

    def of(self, price: Price | None) -> Tokens:
        """Return the most tokens of a call to a model with this price."""
        read, written = self.input, self.output
        if price is not None and price.input_max is not None:
            read = min(read, price.input_max)
        if written is None:
            known = price.output_max if price is not None else None
            written = OUTPUT_UNKNOWN if known is None else known
        return Tokens(min(read, TOKENS_MAX), min(self.answers * written, TOKENS_MAX))


def most_of(size: int | None, members: Mapping[str, Any], *, generates: bool = True) -> Most:
    """Return the most of a request. size: of its body in bytes. members: of its body, as far as they are known."""
    stated = [value for name in _LIMITS if type(value := members.get(name)) is int and value >= 0]
    answers = members.get("n")
    count = answers if type(answers) is int and 1 <= answers <= _ANSWERS_MAX else 1
    return Most(INPUT_UNKNOWN if size is None else size, (max(stated, default=None) if generates else 0), count)
