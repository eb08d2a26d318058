"""Keeps API keys out of the texts of every new event.

A request with a text that contains the key it sends is refused before anything is recorded. A text that contains the
key stored before, which must not be confirmed to the caller, and any other text with the form of a key is recorded with
the key masked.
Promises: an event that `recordable` returned has no text with the form of a key. The sealed secret and a credential's
settings are not changed, because that would alter the credential: `providers.check` and `credential.decide` refuse
settings that contain a key. Events that are already stored are read unchanged.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TypeVar

from domain.credentials.key_shapes import masked
from domain.credentials.secret import Secret
from domain.events.event import CommandMeta, Event

E = TypeVar("E", bound=Event)

_TEXTS: dict[type[Event], Sequence[str]] = {}
KEPT_CLEAR = (
    "must not hold an API key: it is kept in clear, for ever; leave the key out, or write its last four characters"
)
"""The error text for a text that would be stored."""


def recordable(event: E) -> E:
    """Return the event with every key in its texts masked."""
    texts = {name: text for name in _texts_of(event) if isinstance(text := getattr(event, name), str)}
    changed = {name: kept for name, text in texts.items() if (kept := masked(text)) != text}
    return replace(event, **changed) if changed else event  # type: ignore[arg-type]  # texts for texts


def _texts_of(event: Event) -> Sequence[str]:
    """Return the names of the members that may hold a caller's text."""
    kind = type(event)
    if kind not in _TEXTS:
        _TEXTS[kind] = sorted({field.name for field in fields(kind)}.difference(event.DEFINITION.sealed))
    return _TEXTS[kind]


def without_keys(meta: CommandMeta, secrets: Sequence[Secret]) -> CommandMeta:
    """Return the command's metadata with each of `secrets` in it masked.

    A command id that contained one becomes another id, so the same command sent again is not recognised.
    """
    return replace(
        meta,
        actor=masked(meta.actor, secrets),
        request_id=masked(meta.request_id, secrets),
        command_id=masked(meta.command_id, secrets),
        reason=None if meta.reason is None else masked(meta.reason, secrets),
    )
