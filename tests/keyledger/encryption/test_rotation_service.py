"""Rotations that a service runs in the background, watched and ended from anywhere."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from domain.errors import ErrorCode, StoreUnavailableError
from domain.events.event import CommandMeta
from domain.operations.rotation import RotationState, RotationStatus
from keyledger.encryption.nodes import Presence
from keyledger.encryption.reencryption import FAST
from keyledger.encryption.rotation import RotationProgress, Rotator
from keyledger.encryption.rotation_rows import SILENT_S, RotationRows
from keyledger.encryption.rotation_service import KeyWork, RecordedRun, RotationService
from tests.support.checker import check
from tests.support.errors import raises
from tests.support.rings import (
    BOTH,
    NEW,
    OLD,
    fill,
    meta,
    now,
    retirer,
    rotations,
    rotator,
    statuses,
    tenants,
    under_keys,
)
from tests.support.store import Store, open_store

BATCH = FAST.batch


@dataclass
class Gate(RotationRows):
    """Records that stop a rotation after each batch until the test lets it continue."""

    store: Store
    reached: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    pass_on: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __post_init__(self) -> None:
        super().__init__(self.store.pool)

    def write(self, progress: RotationProgress, state: RotationState) -> bool:
        if state is RotationState.RUNNING:
            self.reached.release()
            assert self.pass_on.acquire(timeout=60)
        return super().write(progress, state)


@pytest.fixture
def many(database_url: str) -> Iterator[Store]:
    """Three batches of credentials under the old key, in a service with both."""
    fill(database_url, 3 * BATCH)
    with open_store(database_url, BOTH) as store:
        yield store


def gated(store: Store) -> tuple[RotationService, Gate]:
    gate = Gate(store)
    return RotationService(lambda: KeyWork(statuses(store), rotator(store), retirer(store)), gate, store.log), gate


def ended(one: RotationService, rotation_id: str) -> RotationStatus:
    """Wait for the thread of a rotation that no one stops."""
    assert one._thread is not None
    one._thread.join(60)
    return one.rotation(rotation_id)


def test_a_rotation_runs_to_its_end_and_every_node_can_say_so(many: Store) -> None:
    here, there = rotations(many), rotations(many)
    begun = here.start(meta())
    assert (begun.actor, begun.key_id, begun.total) == ("olga", NEW.primary_id, 3 * BATCH)
    assert ended(here, begun.rotation_id).state is RotationState.COMPLETED
    told = there.rotation(begun.rotation_id)
    assert (told.counts.reencrypted, told.counts.done, told.unopened) == (3 * BATCH, 3 * BATCH, ())
    assert told.finished_at is not None
    assert list(there.rotations()) == [told]
    assert under_keys(many) == {NEW.primary_id: 3 * BATCH}
    check(many)


def test_another_node_cancels_it_and_a_second_rotation_goes_on(many: Store) -> None:
    here, gate = gated(many)
    begun = here.start(meta())
    assert gate.reached.acquire(timeout=60)
    gate.pass_on.release()
    assert gate.reached.acquire(timeout=60)  # after the first batch
    rotations(many).cancel(begun.rotation_id)
    gate.pass_on.release()
    stopped = ended(here, begun.rotation_id)
    assert (stopped.state, stopped.counts.reencrypted) == (RotationState.CANCELLED, BATCH)
    again = rotations(many)
    second = again.start(meta())
    assert second.total == 2 * BATCH
    assert ended(again, second.rotation_id).state is RotationState.COMPLETED
    assert under_keys(many) == {NEW.primary_id: 3 * BATCH}


def test_an_orderly_end_of_the_service_interrupts_it_after_its_batch(many: Store) -> None:
    here, gate = gated(many)
    begun = here.start(meta())
    assert gate.reached.acquire(timeout=60)
    gate.pass_on.release()
    assert gate.reached.acquire(timeout=60)
    stopping = threading.Thread(target=here.stop)
    stopping.start()
    assert here._run is not None
    assert here._run.stop.wait(60)
    gate.pass_on.release()
    stopping.join(60)
    told = here.rotation(begun.rotation_id)
    assert (told.state, told.counts.reencrypted) == (RotationState.INTERRUPTED, BATCH)
    assert told.finished_at is not None


def test_one_that_fell_silent_reads_as_interrupted_on_every_node(many: Store) -> None:
    records = RotationRows(many.pool)
    begun = rotator(many).begin(meta())
    assert records.open(begun)
    assert records.one(begun.rotation_id).state is RotationState.RUNNING
    assert records.running()
    with many.superuser() as database:
        database.execute("UPDATE key_rotations SET updated_at = now() - make_interval(secs => %s)", [SILENT_S + 1])
    told = rotations(many).rotation(begun.rotation_id)
    assert told.state is RotationState.INTERRUPTED
    assert told.finished_at == told.updated_at
    assert not records.running()


def test_a_second_one_in_the_same_service_is_refused(many: Store) -> None:
    here, gate = gated(many)
    begun = here.start(meta("rotate-1", may_repeat=True))
    with raises(ErrorCode.ROTATION_REFUSED, match="already runs one"):
        here.start(meta())
    assert here.start(meta("rotate-1", may_repeat=True)).rotation_id == begun.rotation_id
    gate.pass_on.release(10)
    assert ended(here, begun.rotation_id).state is RotationState.COMPLETED
    assert here.start(meta("rotate-1", may_repeat=True)).state is RotationState.COMPLETED
    assert len(here.rotations()) == 1


def test_a_start_whose_answer_was_lost_before_it_ran_is_made_good_by_its_repetition(many: Store) -> None:
    asked = meta("rotate-1", may_repeat=True)
    begun = rotator(many).begin(asked)
    here = rotations(many)
    assert here.start(asked).rotation_id == begun.rotation_id
    assert ended(here, begun.rotation_id).state is RotationState.COMPLETED


def test_what_cannot_be_opened_is_named(many: Store) -> None:
    lost = tenants(1)[0]
    with many.superuser() as database:
        database.execute("UPDATE current_credentials SET key_id = 'kffffffffff' WHERE tenant_id = %s", [lost])
    here = rotations(many)
    told = ended(here, here.start(meta()).rotation_id)
    assert (told.state, told.counts.failed) == (RotationState.COMPLETED, 1)
    assert [(one.tenant_id, one.provider, one.reason) for one in told.unopened] == [
        (lost, "openai", "key-not-in-keyring")
    ]


def test_a_node_that_does_not_know_the_key_is_in_its_way(many: Store) -> None:
    Presence(many.pool).beat(OLD)
    with raises(ErrorCode.ROTATION_REFUSED, match="does not know the key"):
        rotations(many).start(meta())
    assert not rotations(many).rotations()


def test_an_outage_is_told_as_a_failure(many: Store) -> None:
    class Failing(Rotator):
        def run(self, begun: object, meta: CommandMeta, watch: Callable[[RotationProgress], bool]) -> RotationProgress:
            raise StoreUnavailableError

    records = RotationRows(many.pool)
    one = Failing(many.pool, many.log, BOTH, now)
    begun = one.begin(meta())
    records.open(begun)
    with pytest.raises(StoreUnavailableError):
        RecordedRun(one, records).run(begun, meta())
    assert records.one(begun.rotation_id).state is RotationState.FAILED


def test_a_rotation_that_nobody_began_is_not_found(store: Store) -> None:
    here = rotations(store)
    for ask in (here.rotation, here.cancel):
        with raises(ErrorCode.ROTATION_NOT_FOUND):
            ask(str(uuid4()))
    here.stop()


def test_cancelling_what_ended_changes_nothing(many: Store) -> None:
    here = rotations(many)
    told = ended(here, here.start(meta()).rotation_id)
    assert here.cancel(told.rotation_id) == told
