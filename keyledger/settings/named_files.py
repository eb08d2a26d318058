"""The files that settings name: providers, identities, prices and the catalogue of models.

Promises: a file that is not named and does not exist is left out; every error in one that is read is collected. YAML is
loaded only where there is a file to read.
"""

from pathlib import Path

from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.providers import Providers
from keyledger.settings.errors import SettingsError
from keyledger.settings.identity_settings import IdentitySettings
from keyledger.settings.own_prices import OwnPrices
from keyledger.settings.sources import Sources


def read_providers(sources: Sources) -> Providers:
    """Return the built-in providers and those of PROVIDERS_FILE."""
    path = Path(sources.text("PROVIDERS_FILE", "providers.yml") or "")
    if not sources.is_set("PROVIDERS_FILE") and not path.exists():
        sources.show_as("PROVIDERS_FILE", "")
        return BUILT_IN
    from keyledger.settings.provider_file import load_providers  # YAML is not quick to load

    try:
        return load_providers(path)
    except SettingsError as found:
        for line in found.lines:
            sources.error("PROVIDERS_FILE", line)
        return BUILT_IN


def read_identity(sources: Sources, providers: Providers) -> IdentitySettings:
    """Return what IDENTITY_FILE says of callers without keys. providers: those that exist."""
    path = Path(sources.text("IDENTITY_FILE", "identity.yml") or "")
    if not sources.is_set("IDENTITY_FILE") and not path.exists():
        sources.show_as("IDENTITY_FILE", "")
        return IdentitySettings()
    from keyledger.settings.identity_file import load_identity  # YAML is not quick to load

    try:
        return load_identity(path, providers)
    except SettingsError as found:
        for line in found.lines:
            sources.error("IDENTITY_FILE", line)
        return IdentitySettings()


def read_own_prices(sources: Sources, providers: Providers) -> OwnPrices | None:
    """Return the prices of PRICES_FILE, None where there is none. providers: those that exist."""
    path = Path(sources.text("PRICES_FILE", "prices.yml") or "")
    if not sources.is_set("PRICES_FILE") and not path.exists():
        sources.show_as("PRICES_FILE", "")
        return None
    from keyledger.settings.prices_file import load_prices  # YAML is not quick to load

    try:
        return load_prices(path, providers)
    except SettingsError as found:
        for line in found.lines:
            sources.error("PRICES_FILE", line)
        return None


def read_ai_models_file(sources: Sources) -> Path:
    """Return AI_MODELS_FILE, or the packaged catalogue where the folder has none."""
    path = Path(sources.text("AI_MODELS_FILE", "ai_models.yml") or "")
    if sources.is_set("AI_MODELS_FILE") or path.exists():
        return path
    from keyledger.settings.ai_models import packaged_catalogue

    sources.show_as("AI_MODELS_FILE", "the packaged catalogue")
    sources.warn("AI_MODELS_FILE", "there is no ai_models.yml in this folder; the packaged catalogue is used")
    return packaged_catalogue()
