"""Lengths of time as people write them: 90m, 24h, 7d."""

import re
from datetime import timedelta

_SPAN = re.compile(r"([0-9]{1,5})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def span_of(text: str) -> timedelta | None:
    """Return the length of time that a text states in minutes, hours or days; None for any other text."""
    found = _SPAN.fullmatch(text)
    return timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None
