"""The codes of a real log: who appends without one, what the first key attests, what a lost key leaves behind."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
from psycopg_pool import ConnectionPool

from domain.credentials.credential import CredentialDeleted, stream_id
from domain.credentials.resolution import GlobalCredential, ResolutionPolicy, Resolver
from domain.credentials.secret import Secret
from domain.errors import (
    CredentialIntegrityError,
    CredentialNotFoundError,
    StoreUnavailableError,
    UnreadableCredentialError,
)
from domain.event_codec import encode
from domain.events.event import CommandMeta, envelope, time_text, utc_now
from domain.events.event_code import NO_CODES, CodeState
from keyledger.encryption.keyring import Keyring
from keyledger.log import append_call
from keyledger.log.event_codes.attestation import Attesting, attest_first, attestations, read_codes, unchecked_codes
from keyledger.log.event_store import CredentialLog
from keyledger.store_verification import StoreVerdict, verify_store
from projections.credentials.current_credentials import PostgresResolutionProjection
from projections.database.connections import BoundedConnection
from projections.database.pipelines import Pipelines
from projections.database.pools import open_pool
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY, Store, open_store
from tests.support.tenants import tenant_reader

TENANT = str(uuid4())
META = CommandMeta("anna", "req-1", "cmd-1")
FIRST, SECOND = Keyring(ENCRYPTION_KEY), Keyring(OTHER_ENCRYPTION_KEY)
BOTH = Keyring(OTHER_ENCRYPTION_KEY, [ENCRYPTION_KEY])


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    with open_store(database_url) as opened:
        yield opened


def forge_deletion(store: Store, version: int, actor: str = "alice-the-admin") -> None:
    """Append a deletion by SQL, as a role that may insert can, with the row of the view that goes with it."""
    stream = stream_id(TENANT, "openai")
    event = CredentialDeleted(
        **envelope(stream, version, CommandMeta(actor, "req-9", "cmd-9"), utc_now()),
        tenant_id=TENANT,
        provider="openai",
    )
    with store.superuser() as database:
        database.execute(
            "INSERT INTO keyledger_events SELECT %s, %s, %s, %s, max(notification_id) + 1, 'k0123456789', %s"
            " FROM keyledger_events",
            [stream, version, event.TOPIC, encode(event), bytes(32)],
        )
        database.execute(
            "UPDATE current_credentials SET version = %s, token = NULL, binding = NULL, key_id = NULL,"
            " masked_key = NULL, set_at = NULL",
            [version],
        )


def strip_code(store: Store) -> None:
    with store.superuser() as database:
        database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER ALL")
        database.execute("UPDATE keyledger_events SET code = NULL, code_key_id = NULL")


def resolved(store: Store, ring: Keyring) -> str:
    """Return the owner of the key that would serve a call of the tenant."""
    return asyncio.run(_resolved(store, ring))


async def _resolved(store: Store, ring: Keyring) -> str:
    policy = ResolutionPolicy(True, True, {"openai": GlobalCredential(Secret("sk-global-0123456789"))})
    async with Pipelines(store.url) as pipelines:
        codes = read_codes(store.pool, ring.code_keys)
        resolver = Resolver(
            PostgresResolutionProjection(pipelines), ring, policy, tenant_reader(lambda: codes), lambda: codes
        )
        return (await resolver.resolve(TENANT, "openai", tenant_capable=True)).receipt.source.value


class TestForgedDeletions:
    def test_a_deletion_of_ours_lets_the_global_key_serve(self, store: Store) -> None:
        store.set(TENANT, "openai", "sk-live-0123456789")
        assert resolved(store, FIRST) == "tenant"
        store.delete(TENANT, "openai")
        assert resolved(store, FIRST) == "global"

    def test_a_deletion_that_nobody_with_a_key_wrote_is_an_error_at_once(self, store: Store) -> None:
        store.set(TENANT, "openai", "sk-live-0123456789")
        forge_deletion(store, 2)
        with pytest.raises(UnreadableCredentialError):  # under a key that this ledger never had
            resolved(store, FIRST)
        strip_code(store)
        with pytest.raises(CredentialIntegrityError, match="event-code-missing at position 2"):
            resolved(store, FIRST)

    def test_a_command_on_a_forged_stream_is_refused_and_names_the_position(self, store: Store) -> None:
        store.set(TENANT, "openai", "sk-live-0123456789")
        with store.superuser() as database:
            database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER ALL")
            database.execute("UPDATE keyledger_events SET code = %s", [bytes(32)])
        with pytest.raises(CredentialIntegrityError, match="event-code-wrong at position 1"):
            store.set(TENANT, "openai", "sk-live-9876543210")


class TestWithoutAKey:
    def test_once_a_log_has_codes_a_node_without_a_key_appends_nothing(self, store: Store) -> None:
        store.set(TENANT, "openai", "sk-live-0123456789")
        keyless = CredentialLog(store.pool, store.people.sealer)
        event = CredentialDeleted(
            **envelope(stream_id(TENANT, "openai"), 2, META, utc_now()), tenant_id=TENANT, provider="openai"
        )
        with pytest.raises(StoreUnavailableError, match="has no key for that: configure ENCRYPTION_KEY or"):
            keyless.append([event])

    def test_the_first_key_attests_what_was_written_before_and_nothing_after(self, store: Store) -> None:
        store.log.codes = NO_CODES
        store.set(TENANT, "openai", "sk-live-0123456789")
        store.set(TENANT, "azure", "sk-live-0123456789")
        store.log.codes = read_codes(store.pool, FIRST.code_keys)
        for _ in range(2):
            attest_first(store.pool, store.log, META, utc_now)
        with store.pool.connection() as connection:
            ((_, attested),) = attestations(connection)
        assert attested.attested_to == 2
        store.follow()
        assert unchecked_codes(store.pool, read_codes(store.pool, FIRST.code_keys)) == 0
        assert verify(store, FIRST).holds
        forge_deletion(store, 2)
        strip_code_of(store, 4)
        with pytest.raises(CredentialIntegrityError, match="event-code-missing at position 4"):
            unchecked_codes(store.pool, read_codes(store.pool, FIRST.code_keys))

    def test_an_empty_log_and_one_with_codes_need_no_attestation(self, store: Store) -> None:
        attest_first(store.pool, store.log, META, utc_now)
        store.set(TENANT, "openai", "sk-live-0123456789")
        attest_first(store.pool, store.log, META, utc_now)
        with store.pool.connection() as connection:
            assert attestations(connection) == []

    def test_a_forged_attestation_attests_nothing(self, store: Store) -> None:
        store.set(TENANT, "openai", "sk-live-0123456789")
        Attesting(store.pool, store.log, utc_now, lost_keys=False)(META)
        assert read_codes(store.pool, FIRST.code_keys).attested == 1
        with store.superuser() as database:
            database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER ALL")
            database.execute("UPDATE keyledger_events SET code = %s WHERE topic = 'LogAttested'", [bytes(32)])
        assert read_codes(store.pool, FIRST.code_keys).attested == 0


def strip_code_of(store: Store, position: int) -> None:
    with store.superuser() as database:
        database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER ALL")
        database.execute(
            "UPDATE keyledger_events SET code = NULL, code_key_id = NULL WHERE notification_id = %s", [position]
        )


def verify(store: Store, ring: Keyring) -> StoreVerdict:
    with TemporaryDirectory() as folder:
        return verify_store(store.url, ring, Path(folder), lambda step, done, total: None, ring.code_keys)


class TestLostKeys:
    def test_a_deletion_under_a_lost_key_is_an_error_until_it_is_deleted_again(self, store: Store) -> None:
        store.set(TENANT, "openai", "sk-live-0123456789")
        store.delete(TENANT, "openai")
        found = verify(store, SECOND).error
        assert found is not None
        assert (found.part, found.position) == ("codes", 1)
        with pytest.raises(UnreadableCredentialError):
            resolved(store, SECOND)
        store.log.codes = read_codes(store.pool, SECOND.code_keys)
        Attesting(store.pool, store.log, utc_now, lost_keys=True)(META)
        assert verify(store, SECOND).codes_unchecked == 2
        with pytest.raises(UnreadableCredentialError):
            resolved(store, SECOND)
        store.delete(TENANT, "openai")
        assert resolved(store, SECOND) == "global"
        with pytest.raises(CredentialNotFoundError):
            store.delete(TENANT, "openai")

    def test_a_deletion_under_a_retired_key_still_counts_because_the_log_was_attested(self, store: Store) -> None:
        store.set(TENANT, "openai", "sk-live-0123456789")
        store.delete(TENANT, "openai")
        store.log.codes = read_codes(store.pool, BOTH.code_keys)
        Attesting(store.pool, store.log, utc_now, lost_keys=False)(META)
        assert resolved(store, SECOND) == "global"
        assert verify(store, SECOND).codes_unchecked == 0

    def test_a_log_with_codes_under_a_missing_key_is_attested_only_if_the_key_is_declared_lost(
        self, store: Store
    ) -> None:
        store.set(TENANT, "openai", "sk-live-0123456789")
        store.log.codes = read_codes(store.pool, SECOND.code_keys)
        with pytest.raises(CredentialIntegrityError, match="under-a-key-that-is-not-configured"):
            Attesting(store.pool, store.log, utc_now, lost_keys=False)(META)
        Attesting(store.pool, store.log, utc_now, lost_keys=True)(META)
        with store.pool.connection() as connection:
            ((row, _),) = attestations(connection)
        assert store.log.codes.lost == {FIRST.primary_id}
        assert store.log.codes.check(row) is CodeState.RIGHT
        assert verify(store, SECOND).codes_unchecked == 1


class TestTime:
    def test_time_never_goes_back_and_the_nodes_own_is_kept(self, store: Store) -> None:
        store.set(TENANT, "openai", "sk-live-0123456789")
        (first,) = store.log.stream(stream_id(TENANT, "openai"))
        earlier = first.timestamp - timedelta(seconds=3)
        late = CredentialDeleted(
            **envelope(stream_id(TENANT, "openai"), 2, META, earlier), tenant_id=TENANT, provider="openai"
        )
        store.log.append([late])
        _, second = store.log.stream(stream_id(TENANT, "openai"))
        assert second.timestamp == first.timestamp
        assert second.node_time == time_text(earlier)

    def test_an_event_decided_by_a_clock_that_was_ahead_gets_the_present_time(self, store: Store) -> None:
        ahead = utc_now() + timedelta(hours=1)
        place = envelope(stream_id(TENANT, "openai"), 1, META, ahead)
        store.log.append([CredentialDeleted(**place, tenant_id=TENANT, provider="openai")])
        (event,) = store.log.stream(stream_id(TENANT, "openai"))
        assert event.timestamp < utc_now() + timedelta(seconds=1)
        assert event.node_time == time_text(ahead)

    def test_a_time_in_the_future_that_somebody_wrote_holds_up_nobody(self, store: Store) -> None:
        store.set(TENANT, "openai", "sk-live-0123456789")
        with store.superuser() as database:
            database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER ALL")
            database.execute(
                "UPDATE keyledger_events SET state = replace(convert_from(state, 'UTF8'), '\"timestamp\":\"2',"
                ' \'"timestamp":"9\')::bytea'
            )
        store.set(TENANT, "azure", "sk-live-0123456789")
        (event,) = store.log.stream(stream_id(TENANT, "azure"))
        assert abs(event.timestamp - datetime.now(UTC)) < timedelta(minutes=5)

    @pytest.mark.parametrize("off", [timedelta(seconds=-6), timedelta(seconds=6)])
    def test_a_node_whose_clock_is_off_changes_nothing(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, off: timedelta
    ) -> None:
        monkeypatch.setattr(append_call, "utc_now", lambda: utc_now() + off)
        with pytest.raises(StoreUnavailableError, match="more than 5 seconds off"):
            store.set(TENANT, "openai", "sk-live-0123456789")
        assert store.log.stream(stream_id(TENANT, "openai")) == []


def test_appends_that_cross_each_other_all_get_in(store: Store, database_url: str) -> None:
    pools = [open_pool(database_url) for _ in range(4)]
    logs = [CredentialLog(pool, store.people.sealer, store.log.codes) for pool in pools]

    def write(log: CredentialLog) -> None:
        for _ in range(25):
            tenant = str(uuid4())
            place = envelope(stream_id(tenant, "openai"), 1, META, utc_now())
            log.append([CredentialDeleted(**place, tenant_id=tenant, provider="openai")])

    try:
        with ThreadPoolExecutor(4) as writers:
            list(writers.map(write, logs))
    finally:
        for pool in pools:
            pool.close()
    entries = store.audit(limit=200)
    assert len(entries) == 100
    assert [one.timestamp for one in entries] == sorted(one.timestamp for one in entries)
    assert all(one.timestamp - one.node_time < timedelta(seconds=2) for one in entries)


def test_many_writers_leave_times_in_the_order_of_positions(store: Store, database_url: str) -> None:
    def pool() -> ConnectionPool[BoundedConnection]:
        return open_pool(database_url)

    logs = [CredentialLog(pool(), store.people.sealer, store.log.codes) for _ in range(2)]
    try:
        for number in range(40):
            tenant = str(uuid4())
            now = utc_now() - timedelta(milliseconds=5 * (number % 2))
            event = CredentialDeleted(
                **envelope(stream_id(tenant, "openai"), 1, META, now), tenant_id=tenant, provider="openai"
            )
            logs[number % 2].append([event])
    finally:
        for log in logs:
            log._pool.close()
    times = [entry.timestamp for entry in store.audit(limit=100)]
    assert times == sorted(times)
    assert len(times) == 40
