"""Access keys made on a real store, without the HTTP interface."""

from datetime import UTC, datetime
from itertools import count

from domain.access.access_key import AccessTerms
from domain.access.admission import KeyReader
from domain.access.roles import Role
from domain.access.service import AccessKeys, AccessRules, Issued
from domain.event_codec import event_of
from domain.events.event import CommandMeta
from projections.access_keys import PostgresAccessKeys
from tests.support.store import Store

_commands = count(1)


def meta_of_keys() -> CommandMeta:
    number = next(_commands)
    return CommandMeta("anna", f"access-{number}", f"access-{number}", role="sysadmin")


def reader_of(store: Store) -> KeyReader:
    """The reader of keys, with the keys and the clock of the store."""
    return KeyReader(lambda: store.log.codes, event_of, lambda: datetime.now(UTC))


def access_keys_of(store: Store, rules: AccessRules = AccessRules()) -> AccessKeys:
    """The commands on access keys."""
    listed = PostgresAccessKeys(store.pool, reader_of(store).key_of)
    return AccessKeys(store.log, listed, lambda: datetime.now(UTC), rules)


def issue(store: Store, name: str = "app", role: Role = Role.RUNTIME, terms: AccessTerms = AccessTerms()) -> Issued:
    """Make a key."""
    return access_keys_of(store).create(name, role, terms, meta_of_keys())
