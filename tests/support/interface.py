"""The OpenAPI document without its prose: what a generated client depends on."""

from typing import Any

_PROSE = frozenset({"description", "summary", "title", "example", "examples"})


def without_prose(document: Any, *, names: bool = False) -> Any:
    """Return a document without its texts and examples. names: its keys are names of members, not keywords."""
    if isinstance(document, list):
        return [without_prose(one) for one in document]
    if not isinstance(document, dict):
        return document
    return {
        key: without_prose(value, names=key in {"properties", "schemas", "paths"} and not names)
        for key, value in document.items()
        if names or key not in _PROSE
    }
