"""The search language of the audit, on the command line and over HTTP.

    tenant:8b0f6c1e-3d52-4a71-9e0c-5f2d7a64b913 action:deleted since:24h "ticket 4711"

Terms are separated by spaces, and an entry must match all of them. `name:value` matches one member, `reason:words` a
part of the reason; any other term is text that the entry must contain. Values with spaces are quoted with double
quotes. Times are RFC 3339, a day (2026-01-31, from midnight UTC), or a time ago: 90m, 24h, 7d.
Promises: `parse` and `format_query` are inverse to each other. An error refers to a term by its name, never its value.
Refuses: a value with the form of an API key. No entry contains one, so the search would find nothing, but be recorded.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from uuid import UUID

from domain.audit.entries import Action, AuditFilter
from domain.audit.request_events import Outcome
from domain.credentials.key_shapes import holds_key
from domain.credentials.providers import KEY_MIN, NAME_PATTERN
from domain.credentials.recording import KEPT_CLEAR
from domain.credentials.secret import mask
from domain.errors import InvalidField, InvalidRequestError
from domain.text.spans import span_of

QUERY_MAX = 1000
_NAME_KEPT = 24
"""The length, in characters, from which on the name of an actor could be an API key."""
_TERM = re.compile(r'(?:(?P<name>[a-z_]+):)?(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s"]+))(?=\s|$)')
_NO_VALUE = re.compile(r"[a-z_]+:")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.IGNORECASE)
_TIME_RULE = "must be a time such as 2026-01-31T12:00:00Z, a day such as 2026-01-31, or how long ago, such as 24h"
_PROVIDER = re.compile(NAME_PATTERN)
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,512}")
KEY_ID, FINGERPRINT = "k[0-9a-f]{10}", "f[0-9a-f]{16}"
"""The forms of a key id and of a fingerprint."""


def parse(text: str, now: datetime) -> AuditFilter:
    """Return the filter that `text` describes; an empty text matches every entry. now: for times ago.

    Raises InvalidRequestError with an error for each term that cannot be understood.
    """
    wanted: dict[str, object] = {}
    errors: list[InvalidField] = []
    texts: list[str] = []
    for named, value in _terms(text, errors):
        name = named or "text"
        if name not in _READERS:
            errors.append(InvalidField("query", f"{name}: is not a name; use {', '.join(_READERS)}, or quote the text"))
            continue
        if _MEMBER[name] in wanted:
            errors.append(InvalidField(name, "is given twice"))
            continue
        try:
            read = _READERS[name](value, now)
        except ValueError as error:  # its text does not repeat the value
            errors.append(InvalidField(name, str(error)))
            continue
        if name == "text":
            texts.append(value)
        else:
            wanted[_MEMBER[name]] = read
    if errors:
        raise InvalidRequestError(errors)
    return replace(AuditFilter(), texts=tuple(texts), **wanted)  # type: ignore[arg-type]  # each value was parsed to its field's type


def is_printable(text: str) -> bool:
    """Say whether a text may be searched for: printable characters, and tabs between words."""
    return text.replace("\t", " ").isprintable()


def format_query(wanted: AuditFilter) -> str | None:
    """Return the filter in canonical form, without paging; None if it matches every entry."""
    stated = [(name, getattr(wanted, member)) for name, member in _MEMBER.items() if member != "texts"]
    named = [(name, value) for name, value in stated if value is not None] + [("text", text) for text in wanted.texts]
    return " ".join(f"{name}:{_quoted(_written(value))}" for name, value in named) or None


def recorded_query(wanted: AuditFilter) -> str | None:
    """Return the filter as it is recorded: in canonical form, with anything that could be an API key masked.

    A reader may search for a key by the key itself. Actors' names shorter than `_NAME_KEPT` are not masked, because the
    record is to show whose entries were searched.
    """
    actor = None if wanted.actor is None else _masked(wanted.actor, _NAME_KEPT)
    reason = None if wanted.reason is None else _masked_words(wanted.reason) or None
    texts = tuple(filter(None, map(_masked_words, wanted.texts)))
    return format_query(replace(wanted, texts=texts, actor=actor, reason=reason))


def _masked_words(text: str) -> str:
    return " ".join(_masked(word, KEY_MIN) for word in text.split())


def _masked(word: str, length: int) -> str:
    """Return a word, or its mask if it has `length` characters or more."""
    return word if len(word) < length else mask(word)


def _terms(text: str, errors: list[InvalidField]) -> list[tuple[str | None, str]]:
    if len(text) > QUERY_MAX or not is_printable(text):
        errors.append(InvalidField("query", f"must have at most {QUERY_MAX} printable characters"))
        return []
    found: list[tuple[str | None, str]] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        term = _TERM.match(text, at)
        if term is None or (term["plain"] and term["name"] is None and _NO_VALUE.fullmatch(term["plain"])):
            errors.append(InvalidField("query", "has a quotation that does not end, or a name without a value"))
            return []
        quoted, plain = term["quoted"], term["plain"]
        found.append((term["name"], re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain))
        at = term.end()
    return found


def _tenant(value: str, _: datetime) -> str:
    try:
        if str(UUID(value)) == value:
            return value
    except ValueError:
        pass
    raise ValueError("must be a UUID in lower case with hyphens")


def _one_of(allowed: Mapping[str, object] | list[str]) -> Callable[[str, datetime], str]:
    def read(value: str, _: datetime) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return value

    return read


def _provider(value: str, _: datetime) -> str:
    if not _PROVIDER.fullmatch(value):
        raise ValueError("must be the name of a provider, such as openai")
    return _no_key(value)


def _name(value: str, _: datetime) -> str:
    if not _PRINTABLE.fullmatch(value):
        raise ValueError("must be 1 to 512 printable ASCII characters without blanks")
    return _no_key(value)


def _formed(form: str, rule: str) -> Callable[[str, datetime], str]:
    def read(value: str, _: datetime) -> str:
        if not re.fullmatch(form, value):
            raise ValueError(rule)
        return value

    return read


def _text(value: str, _: datetime) -> str:
    if not value:
        raise ValueError("must not be empty")
    return _no_key(value)


def _no_key(value: str) -> str:
    if holds_key(value):
        raise ValueError(KEPT_CLEAR)
    return value


def _time(value: str, now: datetime) -> datetime:
    if (ago := span_of(value)) is not None:
        return now - ago
    try:
        if _DAY.fullmatch(value):
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
        if _TIME.fullmatch(value):
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(_TIME_RULE)


_READERS: Mapping[str, Callable[[str, datetime], object]] = {
    "tenant": _tenant,
    "provider": _provider,
    "action": lambda value, now: Action(_one_of(list(Action))(value, now)),
    "outcome": lambda value, now: Outcome(_one_of(list(Outcome))(value, now)),
    "actor": _name,
    "key": _formed(KEY_ID, "must be the id of an encryption key: k and ten hexadecimal digits in lower case"),
    "fingerprint": _formed(FINGERPRINT, "must be a fingerprint: f and sixteen hexadecimal digits in lower case"),
    "since": _time,
    "until": _time,
    "reason": _text,
    "text": _text,
}
"""By the name of a term, the parser of its value. Raises ValueError; its text does not repeat the value."""

_RENAMED = {"tenant": "tenant_id", "key": "key_id", "text": "texts"}
_MEMBER: Mapping[str, str] = {name: _RENAMED.get(name, name) for name in _READERS}
NAMES = tuple(_READERS)
"""The names of terms."""

assert set(_MEMBER.values()) <= {field.name for field in fields(AuditFilter)}  # noqa: S101  two tables, one truth


def _written(value: object) -> str:
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) else str(value)


def _quoted(value: str) -> str:
    if re.fullmatch(r'[^\s"\\]+', value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
