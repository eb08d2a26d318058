"""The capabilities of models in the table that LiteLLM ships: those that it states, and no others."""

from collections.abc import Mapping

from domain.calls.capabilities import Capabilities, CapabilityTable
from keyledger.settings.litellm_prices import BY_TOKEN
from keyledger.settings.litellm_table import Entries, Entry, count_in

_MODALITIES: Mapping[str, str] = {
    "supports_vision": "image",
    "supports_audio_input": "audio",
    "supports_video_input": "video",
    "supports_pdf_input": "file",
}
_INPUTS = ("text", "image", "audio", "video", "file")


def capabilities_in(entries: Entries) -> CapabilityTable:
    """Return what the entries say."""
    return {place: _capabilities(entry) for place, entry in entries.items()}


def _capabilities(entry: Entry) -> Capabilities:
    return Capabilities(
        _inputs(entry),
        _stated(entry, "supports_function_calling"),
        _stated(entry, "supports_reasoning"),
        _stated(entry, "supports_response_schema"),
        count_in(entry, "max_input_tokens"),
        count_in(entry, "max_output_tokens"),
    )


def _inputs(entry: Entry) -> tuple[str, ...]:
    listed = entry.get("supported_modalities")
    found = {str(name) for name in listed} if isinstance(listed, list) else set()
    if entry.get("mode") in BY_TOKEN:
        found |= {"text"} | {kind for name, kind in _MODALITIES.items() if entry.get(name) is True}
    return tuple(kind for kind in _INPUTS if kind in found)


def _stated(entry: Entry, name: str) -> bool | None:
    return value if isinstance(value := entry.get(name), bool) else None
