"""Reads the prices of models from the file that the installed LiteLLM ships, without loading LiteLLM.

Promises: only prices by the token are taken, and only of models that are billed so; numbers are read as decimals. An
entry that is not well formed is left out: its model then has no price. Without the file there are no prices.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any

from domain.calls.prices import Price, Prices
from domain.credentials.providers import Providers

CURRENCY = "USD"
_FILES = ("model_prices_and_context_window_backup.json", "model_prices_and_context_window.json")
_BY_TOKEN = frozenset({"chat", "completion", "responses", "embedding"})
_NO_PREFIX = "hosted_vllm"
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

_log = logging.getLogger("keyledger.prices")


def litellm_prices(providers: Providers) -> tuple[Prices, str]:
    """Return the prices of the providers' models, and what they are from, such as `LiteLLM 1.99.4`."""
    try:
        installed = metadata.distribution("litellm")
        path = next(path for name in _FILES if (path := Path(str(installed.locate_file(f"litellm/{name}")))).exists())
        entries = json.loads(path.read_text("utf-8"), parse_float=Decimal)
    except (metadata.PackageNotFoundError, StopIteration, OSError, ValueError):
        _log.warning("LiteLLM's file of prices cannot be read, so models have no prices but those of PRICES_FILE")
        return {}, "none"
    return dict(_prices(entries, providers)), f"LiteLLM {installed.version}"


def _prices(entries: Any, providers: Providers) -> Iterator[tuple[tuple[str, str], Price]]:
    called = {
        name: row.name
        for row in providers.values()
        for name in (row.litellm_prefix, *row.also_called)
        if name != _NO_PREFIX
    }
    for key, entry in entries.items() if isinstance(entries, dict) else ():
        if isinstance(entry, dict) and entry.get("mode") in _BY_TOKEN and entry.get("litellm_provider") in called:
            provider = entry["litellm_provider"]
            if (price := _price(entry)) is not None:
                yield (called[provider], key.removeprefix(f"{provider}/")), price


def _price(entry: Mapping[str, Any]) -> Price | None:
    """Return the price of an entry; None for one without prices by the token."""
    plain = _members(entry, "")
    if entry["mode"] == "embedding":
        plain.setdefault("output", Decimal(0))
    if not {"input", "output"} <= plain.keys():
        return None
    limits = {int(found[1]) for name in entry if (found := _ABOVE.search(name)) is not None}
    above = [(1000 * limit, Price(**{**plain, **_members(entry, f"_above_{limit}k_tokens")})) for limit in limits]
    output, read = (
        most if type(most := entry.get(name)) is int and most > 0 else None
        for name in ("max_output_tokens", "max_input_tokens")
    )
    return Price(**plain, output_max=output, input_max=read, above=tuple(sorted(above, key=lambda one: -one[0])))


def _members(entry: Mapping[str, Any], ending: str) -> dict[str, Any]:
    stated = {member: entry.get(name + ending) for name, member in _MEMBERS.items()}
    return {
        member: Decimal(value)
        for member, value in stated.items()
        if isinstance(value, int | Decimal) and not isinstance(value, bool) and 0 <= value <= _MOST
    }
