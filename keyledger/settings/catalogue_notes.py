"""Notes about a valid catalogue: which models are not served, and which their providers will discontinue.

The dates come from LiteLLM's own data, read as a file: importing LiteLLM takes seconds, and a check of the settings has
no other use for it. Without that file no dates are reported. The network is not used.
"""

import json
from collections.abc import Mapping
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path

from domain.calls.models import Model
from domain.credentials.providers import Providers
from keyledger.settings.ai_models import Catalogue

_DATA = "model_prices_and_context_window_backup.json"


def catalogue_notes(
    catalogue: Catalogue, providers: Providers, today: date, within: timedelta = timedelta.max
) -> list[str]:
    """Return a sentence for each model that is left out, and for each whose provider announced its end; the name of the
    file comes first.

    within: ends further away than this are not reported.
    """
    endings = _endings(catalogue.models, providers, today, within)
    return [*catalogue.told_left_out(), *(f"{catalogue.source}: {one}" for one in endings)]


def _endings(models: tuple[Model, ...], providers: Providers, today: date, within: timedelta) -> list[str]:
    known = _known_dates()
    notes = []
    for model in models:
        ends = _ending(model, providers, known)
        if ends is not None and ends - today <= within:
            past = ", which is past" if ends <= today else ""
            notes.append(f"{model.name}: {model.provider} announced the end of {model.upstream_name} for {ends}{past}")
    return notes


def _ending(model: Model, providers: Providers, known: Mapping[str, date]) -> date | None:
    provider = providers.get(model.provider)
    return known.get(f"{provider.litellm_prefix}/{model.upstream_name}") if provider else None


def _known_dates() -> Mapping[str, date]:
    """Return the announced ends of models, by LiteLLM's prefix and the provider's name for the model."""
    found = find_spec("litellm")
    if found is None or found.origin is None:
        return {}
    try:
        data = json.loads((Path(found.origin).parent / _DATA).read_bytes())
    except (OSError, ValueError):
        return {}  # another release of the library may store its data differently
    return {_full_name(name, one): ends for name, one in data.items() if (ends := _stated_end(one)) is not None}


def _stated_end(entry: Mapping[str, object]) -> date | None:
    try:
        return date.fromisoformat(str(entry.get("deprecation_date")))
    except ValueError:  # missing, or not a date
        return None


def _full_name(name: str, entry: Mapping[str, object]) -> str:
    prefix = f"{entry.get('litellm_provider')}/"
    return prefix + name.removeprefix(prefix)
