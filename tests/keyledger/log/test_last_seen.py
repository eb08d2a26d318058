"""A change of a credential that this process has seen takes one round trip, and never rests on what it remembers."""

from collections.abc import Callable, Iterator
from typing import TypeVar, cast
from uuid import UUID

import pytest
from psycopg.abc import PQGen

from domain.credentials.commands import Precondition, SetCredential
from domain.credentials.credential import stream_id
from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import Secret
from domain.errors import (
    CredentialIntegrityError,
    CredentialNotFoundError,
    ServiceError,
    UnresolvableError,
    VersionConflictError,
)
from domain.events.event import CommandMeta
from domain.events.event_code import LogRow
from domain.tenants.tenant import Tenant, freeze
from keyledger.log import last_seen
from keyledger.log.last_seen import LastSeen
from projections.database.connections import BoundedConnection
from tests.support.checker import check
from tests.support.forger import unguarded
from tests.support.pooler import pooled
from tests.support.scenario import NOW, OTHER_TENANT, TENANT
from tests.support.store import Store, open_store

T = TypeVar("T")
STREAM = stream_id(TENANT, "openai")
META = CommandMeta("anna", "req", "cmd")


@pytest.fixture
def elsewhere(store: Store) -> Iterator[Store]:
    """The same log, as another process has it."""
    with open_store(store.url) as other:
        yield other


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], int]:
    """Count how often a thread waits for the database while it does something."""
    waits: list[object] = []
    wait = BoundedConnection.wait

    def watched(generator: PQGen[T]) -> PQGen[T]:
        """The same, noted if it waits at all: a commit of nothing does not."""
        try:
            wanted = next(generator)
            waits.append(wanted)
            while True:
                wanted = generator.send((yield wanted))
        except StopIteration as end:
            return cast("T", end.value)

    def counted(self: BoundedConnection, generator: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        return wait(self, watched(generator), interval, timeout)

    def of(work: Callable[[], object]) -> int:
        waits.clear()
        work()
        return len(waits)

    monkeypatch.setattr(BoundedConnection, "wait", counted)
    return of


def set_again(store: Store, number: int) -> Callable[[], object]:
    return lambda: store.set(TENANT, "openai", f"sk-live-another-{number:04}")


def test_a_change_of_a_known_credential_takes_one_round_trip(
    store: Store, turns: Callable[[Callable[[], object]], int]
) -> None:
    set_again(store, 0)()
    assert [turns(set_again(store, number)) for number in range(1, 4)] == [1, 1, 1]
    assert turns(lambda: store.delete(TENANT, "openai")) == 1
    check(store)


def test_a_first_change_takes_two_round_trips(store: Store, turns: Callable[[Callable[[], object]], int]) -> None:
    set_again(store, 0)()  # this process has keys for the caller now, and the statements are prepared
    assert turns(lambda: store.set(TENANT, "mistral", "sk-live-another-0001")) == 2


@pytest.mark.pooler
def test_through_a_pooler_it_takes_one_as_well(database_url: str, turns: Callable[[Callable[[], object]], int]) -> None:
    settings = ("pool_mode = transaction", "default_pool_size = 2")  # the second for a connection that is being opened
    with pooled(database_url, *settings) as pooler, open_store(pooler.url) as store:
        set_again(store, 0)()
        assert [turns(set_again(store, number)) for number in range(1, 4)] == [1, 1, 1]
    with open_store(database_url) as store:
        check(store)


def test_what_another_process_wrote_meanwhile_is_read(store: Store, elsewhere: Store) -> None:
    for number in range(4):
        writer = (store, elsewhere)[number % 2]
        assert writer.set(TENANT, "openai", f"sk-live-another-{number:04}").version == number + 1
    assert store.delete(TENANT, "openai").version == 5
    check(store)


def _deleted(store: Store) -> None:
    store.delete(TENANT, "openai")


def _replaced(store: Store) -> None:
    store.set(TENANT, "openai", "sk-live-of-another-node-1")


def _frozen(store: Store) -> None:
    event = freeze(Tenant(TENANT), META, NOW)
    assert event is not None
    store.log.append([event])


def _forged(store: Store) -> None:
    with store.superuser() as database, unguarded(database):
        database.execute("UPDATE keyledger_events SET state = state || ' ' WHERE originator_id = %s", [STREAM])


def _uncoded(store: Store) -> None:
    with store.superuser() as database, unguarded(database):
        database.execute("UPDATE keyledger_events SET code = NULL, code_key_id = NULL")


def _delete(store: Store) -> object:
    return store.delete(TENANT, "openai")


def _set_first(store: Store) -> object:
    command = SetCredential(
        TENANT,
        "openai",
        Secret("sk-live-another-0009"),
        CredentialConfig(),
        META,
        Precondition(versions=frozenset({1})),
    )
    return store.handle(command)


def _set(store: Store) -> object:
    return store.set(TENANT, "openai", "sk-live-another-0009")


REFUSED: dict[str, tuple[Callable[[Store], object], Callable[[Store], object], type[ServiceError]]] = {
    "deleted, to be deleted": (_deleted, _delete, CredentialNotFoundError),
    "replaced, with a precondition": (_replaced, _set_first, VersionConflictError),
    "frozen, to be set": (_frozen, _set, UnresolvableError),
    "frozen, to be deleted": (_frozen, _delete, UnresolvableError),
    "forged, to be set": (_forged, _set, CredentialIntegrityError),
    "without its code, to be set": (_uncoded, _set, CredentialIntegrityError),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_was_changed_meanwhile_decides(store: Store, elsewhere: Store, case: str) -> None:
    change, command, error = REFUSED[case]
    store.set(TENANT, "openai", "sk-live-another-0000")
    change(elsewhere)
    with pytest.raises(error):
        command(store)


def test_a_refusal_that_no_longer_holds_is_not_repeated_from_memory(store: Store, elsewhere: Store) -> None:
    store.set(TENANT, "openai", "sk-live-another-0000")
    store.delete(TENANT, "openai")
    with pytest.raises(CredentialNotFoundError):
        store.delete(TENANT, "openai")
    elsewhere.set(TENANT, "openai", "sk-live-another-0001")
    assert store.delete(TENANT, "openai").version == 4


def test_a_log_that_lost_its_end_is_not_continued_from_memory(store: Store) -> None:
    for number in range(3):
        set_again(store, number)()
    with store.superuser() as database, unguarded(database):
        database.execute("DELETE FROM keyledger_events WHERE originator_id = %s AND originator_version > 1", [STREAM])
    assert store.set(TENANT, "openai", "sk-live-another-0009").version == 2


def test_one_wrong_presumption_costs_the_others_of_the_batch_nothing(store: Store, elsewhere: Store) -> None:
    for tenant in (TENANT, OTHER_TENANT):
        store.set(tenant, "openai", "sk-live-another-0000")
    elsewhere.set(TENANT, "openai", "sk-live-another-0001")
    commands = [
        SetCredential(tenant, "openai", Secret("sk-live-another-0002"), CredentialConfig(), META)
        for tenant in (TENANT, OTHER_TENANT)
    ]
    outcomes = store.service.handle_all(commands)
    assert [getattr(outcome, "version", outcome) for outcome in outcomes] == [3, 2]
    check(store)


def test_memory_is_bounded_and_forgets_what_was_not_used_for_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_seen, "KEPT", 3)
    rows = {UUID(int=n): LogRow(n, UUID(int=n), 1, "CredentialSet", b"{}", None, None) for n in range(1, 5)}
    memory = LastSeen()
    for number in (1, 2, 3):
        memory.note({UUID(int=number): rows[UUID(int=number)]})
    memory.of([UUID(int=1)])
    memory.note({UUID(int=4): rows[UUID(int=4)]})
    assert set(memory.of(rows)) == {UUID(int=n) for n in (1, 3, 4)}
