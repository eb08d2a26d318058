"""The prices in force: the operator's own, then those of the file that LiteLLM ships."""

from domain.calls.prices import PriceTable
from keyledger.settings.litellm_prices import CURRENCY, litellm_prices
from keyledger.settings.settings import Settings


def prices_of(settings: Settings) -> PriceTable:
    """Return the prices of models. Those of LiteLLM count only where the operator's have the same currency."""
    own = settings.own_prices
    if own is not None and own.currency != CURRENCY:
        return PriceTable(own.currency, "PRICES_FILE", own.prices)
    shipped, source = litellm_prices(settings.providers)
    if own is None:
        return PriceTable(CURRENCY, source, {}, shipped)
    return PriceTable(CURRENCY, f"PRICES_FILE, {source}", own.prices, shipped)
