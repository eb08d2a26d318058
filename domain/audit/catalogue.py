"""Every event type that the log can hold, in the order in which readers see them, and the page that describes them.

Refuses: an event type that is not defined in one of `_MODULES`, so a stored topic never decides what is imported.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from types import ModuleType

from domain.audit import events
from domain.credentials import acceptance, credential
from domain.credentials.credential import CredentialSealed
from domain.credentials.providers import CONFIG_FIELDS
from domain.event import Event
from domain.event_definition import ActionDefinition, EventDefinition
from domain.operations import encryption_keys, policy, replay, restore

_MODULES = (credential, acceptance, encryption_keys, replay, restore, policy, events)


def _defined_in(module: ModuleType) -> Iterator[type[Event]]:
    """Yield the event types that a module defines, in the order of its text."""
    for one in vars(module).values():
        if (
            isinstance(one, type)
            and issubclass(one, Event)
            and one.__module__ == module.__name__
            and "TOPIC" in vars(one)
        ):
            yield one


EVENTS: tuple[type[Event], ...] = tuple(event for module in _MODULES for event in _defined_in(module))
BY_TOPIC: Mapping[str, type[Event]] = {event.TOPIC: event for event in EVENTS}
BY_ACTION: Mapping[str, tuple[EventDefinition, ActionDefinition]] = {
    action.name: (event.DEFINITION, action) for event in EVENTS for action in event.DEFINITION.actions
}
"""By the name of an action, its definition and that of the events that can be it."""

_IN_EVERY_ENTRY = {field.name for field in fields(Event)} | {
    "outcome",
    "tenant_id",
    "provider",
    "masked_key",
    "key_id",
    "fingerprint",
}
"""Members of an event that an audit entry shows as members of its own."""


def details_of(event: type[Event]) -> tuple[str, ...]:
    """Return the members of an event type that are the details of its entries."""
    if issubclass(event, CredentialSealed):
        return CONFIG_FIELDS
    return tuple(field.name for field in fields(event) if field.name not in _IN_EVERY_ENTRY)
