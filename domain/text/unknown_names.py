"""Errors for unknown names, with a suggestion of the known name that the caller probably meant.

Promises: an error repeats a name only when it is a plain identifier that cannot be an API key pasted in the wrong
place. A name may be a key when it has the prefix of one, when it is long and has digits, or when it mixes digits with
both letter cases, as random text does. Such a name is called unknown and not repeated.
"""

import re
from collections.abc import Collection
from difflib import get_close_matches

from domain.errors import InvalidField

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,40}")
_PREFIX = re.compile(
    r"(?:[sr]k|kl[a-z]?|gsk|r8|pplx|xai|nvapi|gh[pousr]|github_pat|glpat|xox[a-z])[-_]|hf_[a-z0-9]{9}|AIza|AKIA|ASIA|eyJ",
    re.IGNORECASE,
)
_LONG = 20
_RANDOM = 12
_NEARLY = 0.75
"""The least similarity, from 0 to 1, at which one name is taken for a misspelling of another."""


def unknown_name(name: str, kind: str, known: Collection[str], rule: str) -> InvalidField:
    """Return the error for a name not in `known`. kind: what it names, such as `field`. rule: ends the text."""
    if not is_plain_name(name):
        return InvalidField(f"an unknown {kind}", f"is not accepted; {rule}")
    meant = probably_meant(name, known)
    return InvalidField(name, f"is not accepted; {f'did you mean {meant}? ' if meant else ''}{rule}")


def probably_meant(name: str, known: Collection[str]) -> str | None:
    """Return the name in `known` of which `name` is probably a misspelling, or None."""
    spelt = {one.lower(): one for one in known}
    nearest = get_close_matches(name.lower().replace("-", "_"), spelt, 1, _NEARLY)
    return spelt[nearest[0]] if nearest else None


def is_plain_name(name: str) -> bool:
    """Return whether a name is a plain identifier that cannot be a key."""
    if not _PLAIN.fullmatch(name) or _PREFIX.match(name):
        return False
    if not any(letter.isdigit() for letter in name):
        return True
    mixed = name != name.lower() and name != name.upper()
    return len(name) < (_RANDOM if mixed else _LONG)
