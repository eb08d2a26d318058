"""Recognises mistakes in pasting a key: quotes, assignments, placeholders, masks and the like.

Promises: only a text that cannot be any provider's key is a mistake. Each mistake has a name and a text that says how
to correct it; no text repeats any part of the key. A key that ends in an ellipsis, as in documentation, may be real:
it causes a warning, and never replaces a key that has no such mark.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake in pasting a key. pattern: matches the whole pasted text. rule: the error text."""

    name: str
    pattern: re.Pattern[str]
    rule: str


def _mistake(name: str, pattern: str, rule: str) -> Mistake:
    return Mistake(name, re.compile(pattern, re.DOTALL), rule)


_QUOTE = "[\"'`´\u2018-\u201f\u00ab\u00bb\u2039\u203a\u300c-\u300f\uff02\uff07]"
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_WORDY_NAME = r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+"
_KEY_NAME = r"-{0,2}[A-Za-z_](?i:[a-z0-9_.-]*(?:key|token|secret)(?:[_-]?[0-9]+)?)|(?i:key|token)|NAME"
_API_KEY_NAME = r"-{0,2}(?i:(?:[a-z0-9]+[_.-])*api[-_.]?key|(?:[a-z0-9]+[_.-])+(?:key|token|secret))"
"""A colon alone assigns only to a name that no key begins with."""

MISTAKES = (
    _mistake(
        "quotes",
        rf"{_QUOTE}.*|.*{_QUOTE}",
        "is in quotes, or begins or ends with one; give the key without them",
    ),
    _mistake(
        "assignment",
        # Base64 has "=" at its end only.
        rf"(?:export|set|setx|env|ENV|ARG)\s+{_NAME}\s*[= ].*|\$env:.*|{_WORDY_NAME}\s*(?:=|:\s)\s*[^=\s].*"
        rf"|{_WORDY_NAME}_(?:KEY|TOKEN|SECRET)\s*[=:]|{_NAME}=sk-.*|(?:{_KEY_NAME})\s*(?:=\s*[^=\s]|:\s).*"
        rf"|{_API_KEY_NAME}(?::\S|\s+\S).*|\{{\s*[\"'].*\}}",
        "is a whole assignment; give only the value, without the name",
    ),
    _mistake(
        "reference",
        rf"\$\{{.*\}}|\$[A-Z_][A-Z0-9_]*|\$\(.*\)|%{_NAME}%|\{{\{{.*\}}\}}",
        "is the name of a variable that nothing has replaced; give the key itself",
    ),
    _mistake(
        "placeholder",
        r"(?:[A-Za-z0-9]+-)*<[^<>]*>",
        "is a placeholder; give the key itself in place of the angle brackets",
    ),
    _mistake(
        "authorization",
        r"(?i:authorization:.*|(?:bearer|basic)\s.*)",
        "is a whole Authorization header; give only the key behind the word Bearer",
    ),
    _mistake(
        "mask",
        # How portals display a key in part: ...xyz9, sk-****3456, sk-proj-abc...xyz9.
        r"(?:\.{3}|\u2026).*|.*(?:\*{3}|[\u2022\u25cf\u00b7\u2217]{3}).*"
        r"|(?:sk|pk|rk)-[A-Za-z0-9_-]*(?:\.{3}|\u2026)[A-Za-z0-9_-]{2,6}|.*\u2026|\[redacted\]",
        "is the mask of a key, as lists show it; give the whole key, from where it was made",
    ),
    _mistake(
        "sealed",
        r"enc:fernet:.*",
        "is a key that is sealed already, as a database holds it; give the key itself",
    ),
    _mistake(
        "address",
        r"https?://.*",
        "is an address; that belongs in endpoint",
    ),
)


_STANDS_FOR_A_KEY = re.compile(r"(?i:your[-_ ].*|change[-_]?me|replace[-_]?me|undefined|null|none|(?:sk-)?x{6,})")


def pasting_error(key: str) -> str | None:
    """Return what was pasted instead of a key and how to correct it, or None. key: without surrounding spaces."""
    return next((mistake.rule for mistake in MISTAKES if mistake.pattern.fullmatch(key)), None)


def pasting_doubt(key: str) -> str | None:
    """Return why a key that is accepted is probably not the provider's, or None."""
    if _STANDS_FOR_A_KEY.fullmatch(key):
        return "looks like a placeholder from a template"
    if key.endswith("..."):
        return "ends in three dots, as keys in documentation do"
    return None


def pasting_warning(key: str) -> str | None:
    """Return a warning about a key that is accepted, or None."""
    doubt = pasting_doubt(key)
    return doubt and f"{doubt}; if it is not the provider's whole key, set the right one"


def replacing_error(key: str, stored: Sequence[str]) -> str | None:
    """Return an error text for a doubtful key that would replace another one, or None.

    stored: the live credential's key, if it can be opened. A key that is as doubtful may be replaced.
    """
    doubt = pasting_doubt(key)
    if doubt is None or (stored and all(map(pasting_doubt, stored))):
        return None
    return f"{doubt}, and would replace a key that may be good; give the whole key, or delete the credential first"
