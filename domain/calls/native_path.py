"""Normalises the paths and queries that callers send for a provider's own API.

Promises: a normalised path stays below the base path it is appended to, even on a server that decodes escapes twice,
takes an escaped slash for a slash, or strips parameters after a semicolon. Each segment is re-encoded, so equal paths
are equal texts; an escaped slash stays escaped.
Refuses: dot segments and empty segments in any spelling, escapes of escapes, backslashes, control characters, and
characters outside ASCII. Error texts repeat no part of the path.
Standards: RFC 3986, sections 3.3, 5.2.4 and 6.2.2.
"""

import re
from urllib.parse import quote, unquote_to_bytes

from domain.calls.key_names import holds_key_parameter, plain
from domain.errors import ErrorCode, InvalidRequestError

QUERY_MAX, PARAMETERS_MAX = 8192, 256
"""Characters and parameters of a query. Each parameter is decoded several times."""
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~:@=,+-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._~:@=,+-]*)*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")
_PRINTABLE = re.compile(rb"[\x20-\x7e]*")
_QUERY = re.compile(r"[\x21\x22\x24-\x7e]*")
_KEPT = ":@!$&'()*+,;=~-._"
_NO_PART = frozenset({b"", b".", b".."})


def normalised_path(raw: str) -> str:
    """Return a path, without a leading slash, in the form that is appended to a base path.

    raw: as it was sent, with its escapes. A trailing slash stays. Raises InvalidRequestError.
    """
    if _PLAIN.fullmatch(raw):
        return raw
    *segments, last = raw.split("/")
    if not segments and not last:
        raise invalid_path("is empty; name a path of the provider's API, such as v1/models")
    return "/".join([*map(_segment, segments), _segment(last) if last else ""])


def normalised_query(raw: str, *dropped: str) -> str:
    """Return a query without the parameters in `dropped` and without those from which servers read keys.

    Parameters end at `&`, and at `;` as older servers read it. Raises InvalidRequestError.
    """
    if not raw:
        return ""
    if not _QUERY.fullmatch(raw):
        raise invalid_path("must have a query of printable ASCII characters, without # and spaces")
    unwanted = frozenset(map(plain, dropped))
    if len(raw) > QUERY_MAX or raw.count("&") + raw.count(";") >= PARAMETERS_MAX:
        raise invalid_path(f"must have a query of at most {PARAMETERS_MAX} parameters and {QUERY_MAX} characters")
    kept = [_without(part, unwanted) if ";" in part else part for part in raw.split("&")]
    return "&".join(part for part in kept if part is not None and not holds_key_parameter(part, unwanted))


def _without(part: str, unwanted: frozenset[str]) -> str | None:
    kept = [one for one in part.split(";") if not holds_key_parameter(one, unwanted)]
    return ";".join(kept) if kept else None


def _segment(raw: str) -> str:
    if not raw.isascii() or _BAD_ESCAPE.search(raw):
        raise invalid_path("must be ASCII, with % only before two hexadecimal digits")
    text = unquote_to_bytes(raw)
    if _ESCAPE.search(text):
        raise invalid_path("holds an escape of an escape, such as %252e; escape each character once")
    if b"\\" in text or not _PRINTABLE.fullmatch(text):
        raise invalid_path("must not hold backslashes, control characters or characters outside ASCII")
    if any(part.partition(b";")[0].strip() in _NO_PART for part in text.split(b"/")):
        raise invalid_path("must not hold empty segments or the segments . and .., in any spelling")
    return quote(text, safe=_KEPT)


def invalid_path(rule: str) -> InvalidRequestError:
    """Return the error for a path or query that breaks a rule. rule: must not repeat any of it."""
    return InvalidRequestError((), ErrorCode.INVALID_PATH, f"The path after the provider's name {rule}.")
