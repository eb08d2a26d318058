"""The keys of people and tenants: made when one is first seen, read for sealing and for reading, and destroyed.

Promises: a person has one key for each UTC day, a tenant one for all days; nodes that meet one at the same time
agree on one key. Names are not stored: a keyed digest finds them, and goes with the keys. Destroyed keys are never made
again under their reference: who acts again after an erasure is a new person to the log. Keys for sealing are kept in
memory, and the append refuses one that was destroyed meanwhile; keys for reading are read each time.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from psycopg_pool import ConnectionPool

from domain.errors import StoreUnavailableError
from domain.events.personal import to_text
from keyledger.encryption.ledger_secret import LedgerSecret, random_key
from projections.database.connections import BoundedConnection, Connection, unavailable

KEPT = 1 << 14
"""Keys for sealing that a process keeps in memory, about 5 MB."""
_TRIES = 4

_FIND = """
SELECT wanted.lookup, wanted.suffix, p.person, k.reference, k.key
  FROM unnest(%s::bytea[], %s::text[]) AS wanted (lookup, suffix)
  JOIN people AS p ON p.lookup = wanted.lookup
  LEFT JOIN personal_keys AS k ON k.reference = p.person || wanted.suffix AND k.secret_id = %s
"""
# Neither insert waits for the disk: no event refers to a key before it is committed, and the append that first does
# waits for everything before it in the server's log.
_ADD_PEOPLE = """
WITH unhurried AS (SELECT set_config('synchronous_commit', 'off', true)),
     added AS (
    INSERT INTO people (person, kind, lookup)
    SELECT n.* FROM unhurried, (SELECT DISTINCT * FROM unnest(%s::text[], %s::text[], %s::bytea[])) AS n
        ON CONFLICT (lookup) DO NOTHING RETURNING person)
INSERT INTO personal_keys (reference, person, day, secret_id, key)
SELECT n.reference, n.person, n.day, %s, n.key
  FROM unnest(%s::text[], %s::text[], %s::date[], %s::bytea[]) AS n (reference, person, day, key)
  JOIN added USING (person)
RETURNING reference
"""
# The lock on the person's row makes an erasure wait, so that it destroys this key as well.
_ADD_KEYS = """
WITH unhurried AS (SELECT set_config('synchronous_commit', 'off', true)),
     present AS (SELECT person FROM people WHERE person = ANY (%s) AND lookup IS NOT NULL FOR SHARE)
INSERT INTO personal_keys (reference, person, day, secret_id, key)
SELECT n.reference, n.person, n.day, %s, n.key
  FROM unhurried, unnest(%s::text[], %s::text[], %s::date[], %s::bytea[]) AS n (reference, person, day, key)
  JOIN present USING (person)
    ON CONFLICT (reference) DO NOTHING
"""
_NAMED = "SELECT lookup, person FROM people WHERE lookup = ANY (%s)"
_READ = "SELECT reference, key FROM personal_keys WHERE reference = ANY (%s) AND secret_id = %s"


class Kind(StrEnum):
    """The kind of owner of a key: an actor, the address of a caller without a valid key, or a tenant."""

    ACTOR = "actor"
    ADDRESS = "address"
    TENANT = "tenant"


class Owner(NamedTuple):
    """The owner of a key. day: of the event in UTC; None for a tenant."""

    kind: Kind
    name: str
    day: date | None = None


class PersonalKey(NamedTuple):
    """A key with its reference. Its repr shows only the reference."""

    reference: str
    key: bytes

    def __repr__(self) -> str:
        return f"<personal key {self.reference}>"


class PersonalKeys:
    """The keys of one ledger, for one process."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], secret: Callable[[], LedgerSecret]) -> None:
        self._pool = pool
        self._secret = secret
        self._kept: OrderedDict[Owner, PersonalKey] = OrderedDict()
        self._keeping = threading.Lock()

    def for_sealing(self, owners: Iterable[Owner]) -> Mapping[Owner, PersonalKey]:
        """Return a key for each owner, made where there is none. Raises StoreUnavailableError."""
        wanted = list(dict.fromkeys(owners))
        with self._keeping:
            found = {owner: self._kept[owner] for owner in wanted if owner in self._kept}
        missing = [owner for owner in wanted if owner not in found]
        if missing:
            made = self._read_or_made(missing)
            with self._keeping:
                self._kept.update(made)
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            found.update(made)
        return found

    def forget(self) -> None:
        """Forget all keys for sealing: one of them was destroyed."""
        with self._keeping:
            self._kept.clear()

    def for_reading(self, references: Iterable[str]) -> Mapping[str, bytes]:
        """Return the keys that exist, by reference. Raises StoreUnavailableError, CredentialIntegrityError."""
        wanted, secret = list(set(references)), self._secret()
        if not wanted:
            return {}
        with unavailable(), self._pool.connection() as connection:
            rows = connection.execute(_READ, [wanted, secret.secret_id], binary=True).fetchall()
        return {row["reference"]: secret.open_key(row["reference"], bytes(row["key"])) for row in rows}

    def person_named(self, kind: Kind, name: str) -> str | None:
        """Return the token of a person or tenant; None for a name that was never seen or was erased.

        Raises StoreUnavailableError.
        """
        return self.people_named(kind, [name]).get(name)

    def people_named(self, kind: Kind, names: Iterable[str]) -> Mapping[str, str]:
        """Return the tokens by name, of those who are known. Raises StoreUnavailableError."""
        secret = self._secret()
        name_of = {secret.lookup(kind, name): name for name in names}
        if not name_of:
            return {}
        with unavailable(), self._pool.connection() as connection:
            rows = connection.execute(_NAMED, [list(name_of)], binary=True).fetchall()
        return {name_of[bytes(row["lookup"])]: row["person"] for row in rows}

    def _read_or_made(self, owners: Sequence[Owner]) -> dict[Owner, PersonalKey]:
        secret = self._secret()
        with unavailable(), self._pool.connection() as connection:
            for _ in range(_TRIES):
                people, keys = _found(connection, secret, owners)
                if len(keys) == len(owners):
                    return keys
                if unknown := [owner for owner in owners if owner not in people]:
                    keys.update(_add_people(connection, secret, unknown))
                    if len(keys) == len(owners):
                        return keys
                else:
                    _add_keys(connection, secret, {o: person for o, person in people.items() if o not in keys})
        raise StoreUnavailableError


def _found(
    connection: Connection, secret: LedgerSecret, owners: Sequence[Owner]
) -> tuple[dict[Owner, str], dict[Owner, PersonalKey]]:
    """Return the tokens of the owners who are known, and the keys that exist."""
    of = {(secret.lookup(owner.kind, owner.name), _suffix(owner)): owner for owner in owners}
    wanted = [[lookup for lookup, _ in of], [suffix for _, suffix in of], secret.secret_id]
    people, keys = dict[Owner, str](), dict[Owner, PersonalKey]()
    for row in connection.execute(_FIND, wanted, binary=True):
        owner = of[bytes(row["lookup"]), row["suffix"]]
        people[owner] = row["person"]
        if row["key"] is not None:
            keys[owner] = PersonalKey(row["reference"], secret.open_key(row["reference"], bytes(row["key"])))
    return people, keys


def _add_people(connection: Connection, secret: LedgerSecret, owners: Sequence[Owner]) -> dict[Owner, PersonalKey]:
    """Add owners with their first keys, and return the keys of those whom no other node added meanwhile."""
    lookups = [secret.lookup(owner.kind, owner.name) for owner in owners]
    token_of = {lookup: to_text(os.urandom(16)) for lookup in lookups}
    tokens = [token_of[lookup] for lookup in lookups]
    made = {
        owner: PersonalKey(token + _suffix(owner), random_key()) for owner, token in zip(owners, tokens, strict=True)
    }
    references = [key.reference for key in made.values()]
    sealed = [secret.seal_key(key.reference, key.key) for key in made.values()]
    people = [tokens, [owner.kind.value for owner in owners], lookups]
    keys = [secret.secret_id, references, tokens, [owner.day for owner in owners], sealed]
    added = {row["reference"] for row in connection.execute(_ADD_PEOPLE, [*people, *keys])}
    return {owner: key for owner, key in made.items() if key.reference in added}


def _add_keys(connection: Connection, secret: LedgerSecret, people: Mapping[Owner, str]) -> None:
    references = [person + _suffix(owner) for owner, person in people.items()]
    sealed = [secret.seal_key(reference, random_key()) for reference in references]
    days = [owner.day for owner in people]
    named = list(people.values())
    connection.execute(_ADD_KEYS, [named, secret.secret_id, references, named, days, sealed])


def _suffix(owner: Owner) -> str:
    return "" if owner.day is None else f"@{owner.day:%Y%m%d}"
