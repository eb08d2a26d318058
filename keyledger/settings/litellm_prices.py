"""The prices by the token in the table of models that LiteLLM ships.

Promises: only models that are billed by the token have a price; money is decimal. An entry that is not well formed is
left out: its model then has no price.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from domain.calls.prices import Price, Prices
from keyledger.settings.litellm_table import Entries, Entry, count_in

CURRENCY = "USD"
BY_TOKEN = frozenset({"chat", "completion", "responses", "embedding"})
"""The kinds of models that are billed by the token."""
_MOST = Decimal(1)
"""The highest price of a token that is believed."""
_MEMBERS: Mapping[str, str] = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached",
    "cache_creation_input_token_cost": "cache_creation",
    "output_cost_per_reasoning_token": "reasoning",
}
_ABOVE = re.compile(r"_above_([0-9]{1,6})k_tokens")


def prices_in(entries: Entries) -> Prices:
    """Return the prices of the entries that have one."""
    priced = {place: _price(entry) for place, entry in entries.items() if entry.get("mode") in BY_TOKEN}
    return {place: price for place, price in priced.items() if price is not None}


def _price(entry: Entry) -> Price | None:
    """Return the price of an entry; None for one without prices by the token."""
    plain = _members(entry, "")
    if entry["mode"] == "embedding":
        plain.setdefault("output", Decimal(0))
    if not {"input", "output"} <= plain.keys():
        return None
    limits = {int(found[1]) for name in entry if (found := _ABOVE.search(name)) is not None}
    above = [(1000 * limit, Price(**{**plain, **_members(entry, f"_above_{limit}k_tokens")})) for limit in limits]
    output, read = count_in(entry, "max_output_tokens"), count_in(entry, "max_input_tokens")
    return Price(**plain, output_max=output, input_max=read, above=tuple(sorted(above, key=lambda one: -one[0])))


def _members(entry: Entry, ending: str) -> dict[str, Any]:
    stated = {member: entry.get(name + ending) for name, member in _MEMBERS.items()}
    return {
        member: Decimal(value)
        for member, value in stated.items()
        if isinstance(value, int | Decimal) and not isinstance(value, bool) and 0 <= value <= _MOST
    }
