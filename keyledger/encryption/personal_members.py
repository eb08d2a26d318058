"""Seals the personal members of new events, and opens those of stored ones.

Promises: no event reaches the log with a name, an address or a reason in clear. Members are sealed under the key of the
caller on that day and, where the event names a tenant, under the tenant's key as well, so destroying either makes them
unreadable. A filter that names an actor is sealed under that actor's key as well as the reader's. For callers without a
valid key the address stands for the person. Events of the service itself are about no one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date
from functools import lru_cache

from domain.audit.personal_members import Subjects, subjects_of
from domain.errors import CredentialIntegrityError
from domain.events.event import Event
from domain.events.personal import Disclosure, Place, SealedEvents, SealedMember, parse
from keyledger.encryption.ledger_secret import MemberCipher
from keyledger.encryption.personal_keys import KEPT, Kind, Owner, PersonalKey, PersonalKeys


class PersonalSealer:
    """Seals the members of new events. Implements `domain.events.personal.Sealing`."""

    def __init__(self, keys: PersonalKeys) -> None:
        self._keys = keys
        self._cipher = lru_cache(KEPT)(MemberCipher)

    def sealed(self, events: Sequence[Event]) -> SealedEvents[Event]:
        """Return the events with their personal members sealed. Raises StoreUnavailableError."""
        about = [(event, _owners(subjects_of(event), event)) for event in events]
        keys = self._keys.for_sealing(owner for _, members in about for owners in members.values() for owner in owners)
        sealed = [self._sealed(event, members, keys) for event, members in about]
        return SealedEvents(sealed, [key.reference for key in keys.values()])

    def forget(self) -> None:
        """Forget the keys in memory: one of them was destroyed."""
        self._keys.forget()
        self._cipher.cache_clear()

    def _sealed(
        self, event: Event, members: Mapping[str, tuple[Owner, ...]], keys: Mapping[Owner, PersonalKey]
    ) -> Event:
        if not members:
            return event
        texts: dict[str, str] = {}
        for member, owners in members.items():
            cipher = self._cipher(*zip(*(keys[owner] for owner in owners), strict=True))
            place = Place(event.originator_id, event.originator_version, member)
            texts[member] = cipher.seal(place, getattr(event, member))
        return replace(event, **texts)  # type: ignore[arg-type]  # texts for texts


class PersonalReader:
    """Opens members. Implements `domain.events.personal.Disclosing`."""

    def __init__(self, keys: PersonalKeys) -> None:
        self._keys = keys

    def disclosed(self, sealed: Sequence[tuple[Place, str]]) -> Sequence[Disclosure | None]:
        """Return the value of each text. Raises StoreUnavailableError, CredentialIntegrityError."""
        members = [(place, _parsed(text)) for place, text in sealed]
        keys = self._keys.for_reading(reference for _, member in members for reference in member.keys)
        ciphers: dict[tuple[str, ...], MemberCipher] = {}
        return [_disclosed(place, member, keys, ciphers) for place, member in members]

    def person_named(self, actor: str) -> str | None:
        """Return the token of an actor; None for one who is not known, or was erased. Raises StoreUnavailableError."""
        return self._keys.person_named(Kind.ACTOR, actor)


def _owners(subjects: Subjects, event: Event) -> Mapping[str, tuple[Owner, ...]]:
    """Return, by member, the owners of the keys that it is sealed under."""
    day = event.timestamp.astimezone(UTC).date()
    tenant = () if subjects.tenant is None else (Owner(Kind.TENANT, subjects.tenant),)
    if subjects.actor is not None:
        person: tuple[Owner, ...] = (Owner(Kind.ACTOR, subjects.actor, day),)
    else:
        person = () if subjects.address is None else (Owner(Kind.ADDRESS, subjects.address, day),)
    searched = _searched(subjects, day, person)
    return {
        **dict.fromkeys(subjects.of_person, (*person, *tenant)),
        **dict.fromkeys(subjects.of_search, (*person, *searched)),
        **dict.fromkeys(subjects.of_tenant, tenant),
    }


def _searched(subjects: Subjects, day: date, person: tuple[Owner, ...]) -> tuple[Owner, ...]:
    if subjects.searched is None:
        return ()
    other = Owner(Kind.ACTOR, subjects.searched, day)
    return () if other in person else (other,)


def _parsed(text: str) -> SealedMember:
    try:
        return parse(text)
    except ValueError:
        raise CredentialIntegrityError("personal-member") from None


def _disclosed(
    place: Place,
    member: SealedMember,
    keys: Mapping[str, bytes],
    ciphers: dict[tuple[str, ...], MemberCipher],
) -> Disclosure | None:
    if any(reference not in keys for reference in member.keys):
        return None
    cipher = ciphers.get(member.keys)
    if cipher is None:
        cipher = MemberCipher(member.keys, [keys[reference] for reference in member.keys])
        ciphers[member.keys] = cipher
    return cipher.open(place, member)
