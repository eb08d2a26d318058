"""The prices in force: the operator's own, then those of the table that LiteLLM ships; and what that says of models."""

from functools import lru_cache

from domain.calls.capabilities import CapabilityTable
from domain.calls.prices import Prices, PriceTable
from domain.credentials.providers import Providers
from keyledger.settings.litellm_capabilities import capabilities_in
from keyledger.settings.litellm_prices import CURRENCY, prices_in
from keyledger.settings.litellm_table import litellm_table
from keyledger.settings.settings import Settings


def prices_of(settings: Settings) -> PriceTable:
    """Return the prices of models. Those of LiteLLM count only where the operator's have the same currency."""
    own = settings.own_prices
    shipped, capabilities, source = shipped_table(settings.providers)
    if own is None:
        return PriceTable(CURRENCY, source, {}, shipped, capabilities)
    if own.currency != CURRENCY:
        return PriceTable(own.currency, "PRICES_FILE", own.prices, {}, capabilities)
    return PriceTable(CURRENCY, f"PRICES_FILE, {source}", own.prices, shipped, capabilities)


@lru_cache(maxsize=1)
def shipped_table(providers: Providers) -> tuple[Prices, CapabilityTable, str]:
    """Return the prices and capabilities that LiteLLM ships, and its release. The file is read once for a process."""
    entries, source = litellm_table(providers)
    return prices_in(entries), capabilities_in(entries), source
