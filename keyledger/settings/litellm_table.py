"""The table of models that the installed LiteLLM ships, read as a file, without loading LiteLLM.

Promises: entries of our providers, under their names here; numbers with a fraction are decimals. Without a readable
file there are none.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any

from domain.credentials.providers import Providers

_FILES = ("model_prices_and_context_window_backup.json", "model_prices_and_context_window.json")
_NO_PREFIX = "hosted_vllm"
_log = logging.getLogger("keyledger.prices")

Entry = Mapping[str, Any]
Entries = Mapping[tuple[str, str], Entry]
"""By provider and its name of the model."""


def litellm_table(providers: Providers) -> tuple[Entries, str]:
    """Return the entries of the providers' models, and what they are from, such as `LiteLLM 1.99.4`."""
    try:
        installed = metadata.distribution("litellm")
        path = next(path for name in _FILES if (path := Path(str(installed.locate_file(f"litellm/{name}")))).exists())
        entries = json.loads(path.read_text("utf-8"), parse_float=Decimal)
    except (metadata.PackageNotFoundError, StopIteration, OSError, ValueError):
        _log.warning("LiteLLM's table of models cannot be read, so models have no prices but those of PRICES_FILE")
        return {}, "none"
    return dict(of_providers(entries, providers)), f"LiteLLM {installed.version}"


def of_providers(entries: Any, providers: Providers) -> Iterator[tuple[tuple[str, str], Entry]]:
    """Yield the entries of the providers, under their names here."""
    called = {
        name: row.name
        for row in providers.values()
        for name in (row.litellm_prefix, *row.also_called)
        if name != _NO_PREFIX
    }
    for key, entry in entries.items() if isinstance(entries, dict) else ():
        if (
            isinstance(entry, dict)
            and isinstance(provider := entry.get("litellm_provider"), str)
            and provider in called
        ):
            yield (called[provider], key.removeprefix(f"{provider}/")), entry


def count_in(entry: Entry, name: str) -> int | None:
    """Return a member that is a number of tokens; None for one that is not."""
    value = entry.get(name)
    return int(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) and value > 0 else None
