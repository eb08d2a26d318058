"""Recognises mistakes in pasting a key: quotes, assignments, placeholders, masks and the like.

Promises: only a text that cannot be any provider's key is a mistake. Each mistake has a name and a text that says how
to correct it; no text repeats any part of the key. A key that ends in an ellipsis, as in documentation, may be real:
it only causes a warning.
"""

import re
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
_KEY_NAME = r"(?i:(?:x-)?api[-_]?key|key|token|secret)|NAME"

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
        rf"|{_WORDY_NAME}_(?:KEY|TOKEN|SECRET)\s*[=:]|{_NAME}=sk-.*|(?:{_KEY_NAME})\s*(?:=\s*[^=\s]|:\s).*",
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


def pasting_warning(key: str) -> str | None:
    """Return a warning about a key that is accepted, or None."""
    if _STANDS_FOR_A_KEY.fullmatch(key):
        return "looks like a placeholder from a template; if it is not a key of the provider, set the right one"
    if key.endswith("..."):
        return "ends in three dots, as keys in documentation do; if it is not the whole key, set it again"
    return None
