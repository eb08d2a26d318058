"""The members of an object of a request: those that are understood, and an error that names any other."""

from collections.abc import Set
from typing import Any

from domain.errors import InvalidField, InvalidRequestError
from domain.text.unknown_names import unknown_name

_NONE: Set[str] = frozenset()
NO_COUNTERPART = "this model's provider has no Messages API, and chat completions have nothing like it"


def members_of(value: Any, field: str, known: Set[str], left_out: Set[str] = _NONE) -> dict[str, Any]:
    """Return the known members that are not null. field: of the request, for errors. left_out: change no answer.

    Raises InvalidRequestError for something else than an object, and for other members.
    """
    if not isinstance(value, dict):
        raise InvalidRequestError([InvalidField(field, "must hold objects")])
    kept = {name: member for name, member in value.items() if member is not None and name not in left_out}
    for name in kept:
        if name not in known:
            error = unknown_name(name, "member", known, NO_COUNTERPART)
            raise InvalidRequestError([InvalidField(field, f"has {error.field}, which {error.rule}")])
    return kept


def invalid(field: str, rule: str) -> InvalidRequestError:
    """Return the error of one field."""
    return InvalidRequestError([InvalidField(field, rule)])
