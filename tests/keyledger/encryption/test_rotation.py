"""Rotation on a real database: it finishes, while others write, die or rotate."""

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from domain.credentials.commands import SetCredential
from domain.credentials.credential import CredentialEvent, decide
from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import Secret
from domain.errors import CredentialNotFoundError, ErrorCode, ServiceError
from domain.events.event import CommandMeta
from domain.operations.encryption_keys import (
    KEYRING_STREAM,
    EncryptionKeyIntroduced,
    KeyRotationCompleted,
    RotationCounts,
)
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.nodes import Presence
from keyledger.encryption.reencryption import FAST
from keyledger.encryption.rotation import RotationProgress, Rotator
from tests.support.checker import check
from tests.support.effort import ROTATED
from tests.support.errors import raises
from tests.support.rings import BOTH, NEW, OLD
from tests.support.store import Store, open_store

BATCH = FAST.batch

META = CommandMeta("olga", "req-rotation", "rotation")


def tenants(count: int) -> list[str]:
    return [str(UUID(int=number, version=4)) for number in range(1, count + 1)]


def rotator(store: Store, ring: Keyring = BOTH) -> Rotator:
    return Rotator(store.pool, store.log, ring, lambda: datetime.now(UTC))


def rotate(store: Store, ring: Keyring = BOTH) -> RotationProgress:
    one = rotator(store, ring)
    return one.run(one.begin(META), META, lambda progress: True)


def under_key(store: Store) -> dict[str, int]:
    with store.superuser() as database:
        rows = database.execute(
            "SELECT key_id, count(*) AS n FROM current_credentials WHERE token IS NOT NULL GROUP BY key_id"
        ).fetchall()
    return {row["key_id"]: row["n"] for row in rows}


def fill(database_url: str, count: int) -> None:
    with open_store(database_url, OLD) as store:
        for tenant in tenants(count):
            store.set(tenant, "openai", f"sk-{tenant}")


def test_every_credential_is_sealed_anew_and_means_the_same(database_url: str) -> None:
    with open_store(database_url, OLD) as store:
        first, second = tenants(2)
        store.set(first, "openai", "sk-first-0123456789", CredentialConfig("https://eu.example.com/v1"))
        store.set(second, "mistral", "sk-second-0123456789")
        store.set(second, "openai", "sk-deleted-0123456789")
        store.delete(second, "openai")
        before = {status.credential.provider: status.credential for status in store.service.of_tenant(first)}
    with open_store(database_url, BOTH) as store:
        assert rotate(store).counts == RotationCounts(2, 0, 0)
        assert under_key(store) == {NEW.primary_id: 2}
    with open_store(database_url, NEW) as store:
        after = store.service.get(first, "openai").credential
        assert after.sealed is not None
        assert NEW.open(after.sealed, after.context).reveal() == "sk-first-0123456789"
        assert (after.set_at, after.masked_key, after.config) == (
            before["openai"].set_at,
            before["openai"].masked_key,
            before["openai"].config,
        )
        assert after.version == 2
        check(store)
        actions = [(entry.action.value, entry.actor, entry.key_id) for entry in store.audit()]
    assert actions[-4:] == [
        ("rotation-started", "olga", NEW.primary_id),
        ("reencrypted", "olga", NEW.primary_id),
        ("reencrypted", "olga", NEW.primary_id),
        ("rotation-completed", "olga", NEW.primary_id),
    ]


def test_a_second_rotation_finds_nothing_to_do(database_url: str) -> None:
    fill(database_url, 3)
    with open_store(database_url, BOTH) as store:
        rotate(store)
        assert rotate(store).counts == RotationCounts(0, 0, 0)


def test_a_rotation_of_many_goes_in_batches_and_tells_of_each(database_url: str) -> None:
    fill(database_url, 2 * BATCH + 50)
    seen: list[int] = []

    def watch(progress: RotationProgress) -> bool:
        seen.append(progress.counts.done)
        return True

    with open_store(database_url, BOTH) as store:
        one = rotator(store)
        one.run(one.begin(META), META, watch)
        assert seen == [0, BATCH, 2 * BATCH, 2 * BATCH + 50]
        check(store)


def test_a_rotation_that_is_told_to_stop_keeps_what_it_did_and_another_goes_on(database_url: str) -> None:
    fill(database_url, 2 * BATCH)
    with open_store(database_url, BOTH) as store:
        one = rotator(store)
        stopped = one.run(one.begin(META), META, lambda progress: progress.counts.done < BATCH)
        assert stopped.counts == RotationCounts(BATCH, 0, 0)
        assert rotate(store).counts == RotationCounts(BATCH, 0, 0)
        assert under_key(store) == {NEW.primary_id: 2 * BATCH}


def test_what_cannot_be_opened_is_named_and_left_and_the_rest_goes_on(database_url: str) -> None:
    fill(database_url, 5)
    lost, moved, *_ = tenants(5)
    with open_store(database_url, BOTH) as store:
        with store.superuser() as database:
            database.execute("UPDATE current_credentials SET key_id = 'kffffffffff' WHERE tenant_id = %s", [lost])
            database.execute("UPDATE current_credentials SET endpoint = 'https://evil' WHERE tenant_id = %s", [moved])
        result = rotate(store)
        assert result.counts == RotationCounts(3, 0, 2)
        assert {(one.tenant_id, one.reason) for one in result.unopened} == {
            (lost, "key-not-in-keyring"),
            (moved, "binding"),
        }
        assert under_key(store) == {NEW.primary_id: 3, OLD.primary_id: 1, "kffffffffff": 1}


def test_a_rotation_is_refused_while_a_service_does_not_know_the_key(database_url: str) -> None:
    fill(database_url, 1)
    with open_store(database_url, BOTH) as store:
        behind = Presence(store.pool)
        behind.beat(OLD)
        with raises(ErrorCode.ROTATION_REFUSED, match="does not know the key"):
            rotate(store)
        behind.leave()
        Presence(store.pool).beat(BOTH)
        assert rotate(store).counts.reencrypted == 1


def test_two_rotations_at_once_do_every_credential_once(database_url: str) -> None:
    fill(database_url, 3 * BATCH)
    with open_store(database_url, BOTH) as store:
        with ThreadPoolExecutor(2) as both:
            results = list(both.map(lambda _: rotate(store), range(2)))
        assert sum(result.counts.reencrypted for result in results) == 3 * BATCH
        assert under_key(store) == {NEW.primary_id: 3 * BATCH}
        check(store)
        assert len([entry for entry in store.audit(limit=10_000) if entry.action == "reencrypted"]) == 3 * BATCH


def test_writers_and_readers_beside_a_rotation_see_their_own_keys_only(database_url: str) -> None:
    """Four writers set and delete, four readers open what is in effect."""
    count, writers, readers = ROTATED, 4, 4
    everyone = tenants(count)
    with ExitStack() as stack:
        old = stack.enter_context(open_store(database_url, OLD))
        _fill_fast(old, everyone)
        store = stack.enter_context(open_store(database_url, BOTH))
        done = threading.Event()
        latest: dict[str, str | None] = {}
        wrong: list[str] = []

        def write(nth: int) -> None:
            for number in itertools.count():
                if done.is_set():
                    return
                tenant = everyone[(number * 37 + nth) % count // writers * writers + nth]
                if number % 3 == 2:
                    _delete_if_there(store, tenant)
                    latest[tenant] = None
                else:
                    latest[tenant] = f"sk-{nth}-{number:08}"
                    store.set(tenant, "openai", f"sk-{nth}-{number:08}")

        def read(nth: int) -> None:
            for number in itertools.count(nth):
                if done.is_set():
                    return
                tenant = everyone[number * 101 % count]
                current = store.view.read(tenant, "openai").current()
                if current is not None and current.sealed is not None:
                    key = BOTH.open(current.sealed, current.context).reveal()
                    if current.masked_key != f"...{key[-4:]}" or not (key == f"sk-{tenant}" or key.startswith("sk-")):
                        wrong.append(tenant)

        def guarded(work: object, nth: int) -> None:
            try:
                work(nth)  # type: ignore[operator]
            except (ServiceError, AssertionError) as error:
                wrong.append(repr(error))

        threads = [threading.Thread(target=guarded, args=(write, nth)) for nth in range(writers)]
        threads += [threading.Thread(target=guarded, args=(read, nth)) for nth in range(readers)]
        for thread in threads:
            thread.start()
        result = rotate(store)
        done.set()
        for thread in threads:
            thread.join()

        assert wrong == []
        assert result.counts.failed == 0
        assert set(under_key(store)) == {NEW.primary_id}
        check(store)
    with open_store(database_url, NEW) as alone:
        for tenant, key in latest.items():
            current = alone.view.read(tenant, "openai").current()
            assert (current is None) == (key is None), "no resurrection, no lost delete"
            if current is not None and current.sealed is not None:
                assert NEW.open(current.sealed, current.context).reveal() == key, "no lost update"


def _fill_fast(store: Store, everyone: list[str]) -> None:
    for start in range(0, len(everyone), 500):
        events: list[CredentialEvent] = []
        for tenant in everyone[start : start + 500]:
            meta = CommandMeta("anna", "req", str(uuid4()))
            command = SetCredential(tenant, "openai", Secret(f"sk-{tenant}"), CredentialConfig(), meta)
            events += decide(None, command, datetime.now(UTC), OLD)
        store.log.append(events)


def _delete_if_there(store: Store, tenant: str) -> None:
    try:
        store.delete(tenant, "openai")
    except CredentialNotFoundError:
        return


def test_with_the_old_key_alone_every_rotated_credential_is_a_clear_error(database_url: str) -> None:
    fill(database_url, 2)
    with open_store(database_url, BOTH) as store:
        rotate(store)
    with open_store(database_url, OLD) as store:
        for tenant in tenants(2):
            (status,) = store.service.of_tenant(tenant)
            assert not status.readable
            assert status.credential.sealed is not None
            with pytest.raises(ServiceError, match="key-not-in-keyring"):
                OLD.open(status.credential.sealed, status.credential.context)


def test_the_trail_of_a_rotation_is_on_the_keyrings_own_stream(database_url: str) -> None:
    fill(database_url, 1)
    with open_store(database_url, BOTH) as store:
        rotate(store)
        events = store.log.stream(KEYRING_STREAM)
        assert isinstance(events[-1], KeyRotationCompleted)
        assert not any(isinstance(event, EncryptionKeyIntroduced) for event in events)


def test_a_row_that_somebody_pointed_at_another_stream_is_not_rotated(database_url: str) -> None:
    fill(database_url, 2)
    one, _ = tenants(2)
    with open_store(database_url, BOTH) as store:
        with store.superuser() as database:
            database.execute("UPDATE current_credentials SET stream_id = gen_random_uuid() WHERE tenant_id = %s", [one])
        result = rotate(store)
        assert [unopened.reason for unopened in result.unopened] == ["stream-missing"]


def test_what_somebody_wrote_into_the_projection_does_not_get_into_the_log(database_url: str) -> None:
    fill(database_url, 3)
    masked, dated, _ = tenants(3)
    with open_store(database_url, BOTH) as store:
        with store.superuser() as database:
            database.execute("UPDATE current_credentials SET masked_key = '...evil' WHERE tenant_id = %s", [masked])
            database.execute(
                "UPDATE current_credentials SET set_at = set_at - '1 d'::interval WHERE tenant_id = %s", [dated]
            )
        result = rotate(store)
        assert result.counts == RotationCounts(1, 0, 2)
        assert {(one.tenant_id, one.reason) for one in result.unopened} == {
            (masked, "view-contradicts-log"),
            (dated, "view-contradicts-log"),
        }


def test_a_service_that_was_killed_on_this_machine_stands_in_no_way(database_url: str) -> None:
    fill(database_url, 1)
    with open_store(database_url, BOTH) as store:
        killed = os.fork()
        if killed == 0:
            with open_store(database_url, OLD) as own:
                Presence(own.pool).beat(OLD)
            os._exit(0)
        os.waitpid(killed, 0)
        with store.superuser() as database:
            assert database.execute("SELECT count(*) AS n FROM nodes").fetchone() == {"n": 1}
        assert rotate(store).counts.reencrypted == 1


def test_a_service_on_another_machine_counts_until_it_was_silent_for_a_while(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database_url, 1)
    with open_store(database_url, BOTH) as store:
        with monkeypatch.context() as patch:
            patch.setattr("keyledger.encryption.nodes._process", lambda number: "another-boot/1/2/3")
            Presence(store.pool).beat(OLD)
        assert rotator(store).plan().obstacles
        monkeypatch.setattr("keyledger.encryption.nodes.LIVE_S", 0)
        assert not rotator(store).plan().obstacles
