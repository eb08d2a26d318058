"""Which members of an event are personal, and whom they are about.

Promises: a pure function of the event, for every event type. The caller's name, address and reason are about the
caller, and so is what its definition names; a caller without a valid key is known by the address. What the service does
of its own accord is about no one. Values in clear are recognised by what they are about, never by how they look.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from domain.audit.query import parse
from domain.audit.request_events import ANONYMOUS
from domain.errors import InvalidRequestError
from domain.events.event import SERVICE, Event
from domain.events.personal import Disclosing, Disclosure, Place, is_sealed

IN_EVERY_EVENT = ("actor", "client_address", "reason")
"""Members of every event that are about the caller."""
_SEARCHES = "query"
_NO_TIME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Subjects:
    """Whom the personal members of an event are about.

    actor, address: of the caller, one of them at most. tenant: its id. searched: the actor whose entries were searched
    for. of_person, of_search, of_tenant: the names of the members that have a value.
    """

    actor: str | None = None
    address: str | None = None
    tenant: str | None = None
    searched: str | None = None
    of_person: tuple[str, ...] = ()
    of_search: tuple[str, ...] = ()
    of_tenant: tuple[str, ...] = ()


def subjects_of(event: Event) -> Subjects:
    """Return whom a new event, with its members in clear, is about."""
    definition = type(event).DEFINITION
    tenant = getattr(event, "tenant_id", None)
    of_tenant = _with_value(event, definition.of_tenant) if tenant else ()
    if event.role == SERVICE:
        return Subjects(tenant=tenant if of_tenant else None, of_tenant=of_tenant)
    actor = None if event.role == ANONYMOUS else event.actor
    if actor is None and event.client_address is None:
        return Subjects(tenant=tenant if of_tenant else None, of_tenant=of_tenant)
    mine = IN_EVERY_EVENT if actor is not None else IN_EVERY_EVENT[1:]
    of_person, of_search = _with_value(event, mine), _with_value(event, definition.of_person)
    return Subjects(
        actor,
        None if actor is not None else event.client_address,
        tenant,
        _searched(event) if of_search else None,
        of_person,
        of_search,
        of_tenant,
    )


def personal_members_of(event: type[Event]) -> tuple[str, ...]:
    """Return the names of all members of an event type that may be sealed."""
    return (*IN_EVERY_EVENT, *event.DEFINITION.of_person, *event.DEFINITION.of_tenant)


def sealed_members_of(event: Event) -> list[tuple[Place, str]]:
    """Return the sealed members of a stored event, each with its place, in the order of their names."""
    texts = {name: getattr(event, name) for name in sorted(personal_members_of(type(event)))}
    return [
        (Place(event.originator_id, event.originator_version, name), text)
        for name, text in texts.items()
        if text is not None and is_sealed(text)
    ]


def disclosures_of(events: Sequence[Event], people: Disclosing) -> Iterator[Mapping[str, Disclosure]]:
    """Yield, for each stored event, the members that can be opened, by name. Keys are read once for all events.

    Raises StoreUnavailableError, CredentialIntegrityError.
    """
    sealed = [sealed_members_of(event) for event in events]
    values = iter(people.disclosed([member for members in sealed for member in members]))
    for members in sealed:
        found = {place.member: next(values) for place, _ in members}
        yield {name: value for name, value in found.items() if value is not None}


def _with_value(event: Event, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if getattr(event, name) is not None)


def _searched(event: Event) -> str | None:
    """Return the actor whom a recorded filter names."""
    query = getattr(event, _SEARCHES, None)
    try:
        return parse(query, _NO_TIME).actor if query and "actor:" in query else None
    except InvalidRequestError:  # `several`, or a word of a search
        return None
