"""Events with their personal members sealed as the log stores them, the same each time and without any key."""

from dataclasses import replace
from typing import TypeVar

from domain.audit.personal_members import IN_EVERY_EVENT, subjects_of
from domain.events.event import Event
from domain.events.personal import commitment_of, spell, to_text

E = TypeVar("E", bound=Event)

PERSON, TENANT_TOKEN = to_text(bytes(16)), to_text(bytes([255] * 16))
DAY = "20260101"


def sealed(event: E) -> E:
    """Return the event as if it had been sealed. The boxes are not sealed: each holds its value in clear."""
    subjects = subjects_of(event)
    person, tenant = f"{PERSON}@{DAY}", TENANT_TOKEN
    under = {
        **dict.fromkeys(subjects.of_person, (person, tenant) if subjects.tenant else (person,)),
        **dict.fromkeys(subjects.of_search, (person,)),
        **dict.fromkeys(subjects.of_tenant, (tenant,)),
    }
    texts = {name: _sealed(name, getattr(event, name), keys) for name, keys in under.items()}
    return replace(event, **texts)  # type: ignore[arg-type]  # texts for texts


def _sealed(member: str, value: str, keys: tuple[str, ...]) -> str:
    opening = bytes(range(16))
    return spell(keys, commitment_of(member, value, opening), bytes(12) + opening + value.encode() + bytes(16))


def impersonal(event: E) -> E:
    """Return the event without what the log seals, to compare one that was stored with the one that was made."""
    names = {*IN_EVERY_EVENT, *event.DEFINITION.of_person, *event.DEFINITION.of_tenant}
    return replace(event, **dict.fromkeys(names, "personal"))  # type: ignore[arg-type]  # texts for texts
