"""Reads the operator's own prices from `prices.yml`.

    currency: EUR
    prices:
      - provider: vllm
        model: llama-3.3-70b
        input: 0.15
        output: 0.60
        cached: 0.05
        cache_creation: 0.20
        reasoning: 0.60
        output_max: 8192

Prices are for a million tokens. `provider`, `model`, `input` and `output` are required; `model` is the provider's name
of it, or `*` for all models of the provider that have no price here. They precede those that LiteLLM ships, which count
only where the currency is that of LiteLLM's file, USD.
Refuses: a file with any error, all of which are reported with their lines: a wrong price is worse than none.
"""

import re
from decimal import Decimal
from pathlib import Path

import yaml

from domain.calls.prices import Price
from domain.credentials.providers import Providers
from keyledger.settings.own_prices import OwnPrices
from keyledger.settings.yaml_document import Document, read_document

_REQUIRED = ("input", "output")
_PRICES = (*_REQUIRED, "cached", "cache_creation", "reasoning")
_MEMBERS = ("provider", "model", *_PRICES, "output_max")
_AMOUNT = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,9})?")
_CURRENCY = re.compile("[A-Z]{3}")
_MODEL = re.compile(r"[\x21-\x7e]{1,200}")
_MILLION = Decimal(1_000_000)
_OUTPUT_MAX = 10_000_000


def load_prices(path: Path, providers: Providers) -> OwnPrices:
    """Return the prices of the file. Raises SettingsError."""
    document = read_document(path)
    root = document.root
    if not isinstance(root, yaml.MappingNode):
        document.error(root, "must be a mapping with currency and prices")
        document.close()
        return OwnPrices("", {})
    members = document.members(root)
    for name in members.keys() - {"currency", "prices"}:
        document.error(members[name], f"'{name}' is not known; only currency and prices are")
    currency = document.text("currency", members, root, required=True) or ""
    if currency and not _CURRENCY.fullmatch(currency):
        document.error(members["currency"], "currency must be three capital letters, such as EUR (ISO 4217)")
    prices: dict[tuple[str, str], Price] = {}
    for entry in document.entries(members["prices"], "prices") if "prices" in members else []:
        found = _entry(document, entry, providers)
        if found is not None and found[0] in prices:
            document.error(entry, f"{' '.join(found[0])} has a price twice; remove one of them")
        elif found is not None:
            prices[found[0]] = found[1]
    document.close()
    return OwnPrices(currency, prices)


def _entry(document: Document, entry: yaml.Node, providers: Providers) -> tuple[tuple[str, str], Price] | None:
    """Return the model and price of an entry; None for one with an error, which is recorded."""
    if not isinstance(entry, yaml.MappingNode):
        document.error(entry, "a price must be a mapping with provider, model, input and output")
        return None
    before, members = len(document.errors), document.members(entry)
    provider = document.text("provider", members, entry, required=True)
    model = document.text("model", members, entry, required=True)
    named = f"the price of {provider} {model}"
    for name in members.keys() - set(_MEMBERS):
        document.error(members[name], f"{named}: '{name}' is not known; the members are {', '.join(_MEMBERS)}")
    if provider is not None and provider not in providers:
        document.error(entry, f"{named}: there is no such provider; known providers: {', '.join(providers)}")
    if model is not None and not _MODEL.fullmatch(model):
        document.error(entry, f"{named}: model must be the provider's name of it, without spaces")
    amounts = {name: _amount(document, name, members, entry, named) for name in _PRICES}
    output_max = document.number("output_max", members, 0)
    if output_max > _OUTPUT_MAX:
        document.error(entry, f"{named}: output_max must be at most {_OUTPUT_MAX} tokens")
    if len(document.errors) > before or provider is None or model is None:
        return None
    return (provider, model), Price(**{**amounts, "output_max": output_max or None})  # type: ignore[arg-type]


def _amount(
    document: Document, name: str, members: dict[str, yaml.Node], entry: yaml.Node, named: str
) -> Decimal | None:
    """Return the price of a token. Money is read from the text of the file, never as a float."""
    node = members.get(name)
    if node is None:
        if name in _REQUIRED:
            document.error(entry, f"{named}: {name} is missing; give the price of a million tokens")
        return None
    if not isinstance(node, yaml.ScalarNode) or not _AMOUNT.fullmatch(node.value):
        rule = "must be the price of a million tokens, such as 0.15: up to 6 digits, and 9 after the point"
        document.error(node, f"{named}: {name} {rule}")
        return None
    return Decimal(node.value) / _MILLION
