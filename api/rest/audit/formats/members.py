"""An entry as members of JSON: the names, the order and the spelling in which the service shows it everywhere."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from enum import Enum

from domain.audit.entries import AuditEntry

NAMES = tuple(field.name for field in fields(AuditEntry))
"""The members of an entry, in order."""


def members(entry: AuditEntry) -> dict[str, object]:
    """Return the members of an entry as values that JSON has. A member without a value has the value None."""
    return {name: _plain(getattr(entry, name)) for name in NAMES}


def rfc_3339(moment: datetime) -> str:
    """Return a time as text in UTC with `Z`; fractions of a second only where there are some."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return rfc_3339(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
