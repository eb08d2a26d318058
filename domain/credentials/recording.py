"""The gate that every new event passes on its way into the log: no text of it holds a key.

A caller is told, before anything is recorded, that a text of its own holds a key it has sent. What nobody can be told
(that a text holds the key which is stored), and what a way into the log forgot to look at, is kept as its mask.
Promises: an event that `recordable` returned has no text with the shape of a key. What is sealed stays as it is, and so
do a credential's settings, which cannot be changed unnoticed: `providers.check` and `credential.decide` refuse them.
Events that were recorded once are never changed: they are read past this gate.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TypeVar

from domain.credentials.key_shapes import masked
from domain.credentials.secret import Secret
from domain.event import CommandMeta, Event

E = TypeVar("E", bound=Event)

KEPT_CLEAR = (
    "must not hold an API key: it is kept in clear, for ever; leave the key out, or write its last four characters"
)
"""The rule for a text that is going to be stored."""


def recordable(event: E) -> E:
    """Return the event as the log may keep it."""
    texts = {field.name: text for field in fields(event) if isinstance(text := getattr(event, field.name), str)}
    changed = {name: kept for name, text in texts.items() if (kept := masked(text)) != text}
    return replace(event, **changed) if changed else event  # type: ignore[arg-type]  # texts for texts


def without_keys(meta: CommandMeta, secrets: Sequence[Secret]) -> CommandMeta:
    """Return who asks and why, with the mask alone of what holds one of `secrets`.

    A command id that held one is another id then, and a command that is sent again is not known by it.
    """
    return replace(
        meta,
        actor=masked(meta.actor, secrets),
        request_id=masked(meta.request_id, secrets),
        command_id=masked(meta.command_id, secrets),
        reason=None if meta.reason is None else masked(meta.reason, secrets),
    )
