"""A database administrator changes something in the store, and the verification names it; nothing honest is accused.

One store with rotations, deletions, refusals and restores; each mutation happens in a transaction that is rolled back.
MUTATIONS and HONEST_LOGS choose how many; 2,000 and 200 are what docs/auditors.md speaks of.
"""

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from domain.audit.request_events import Outcome, RefusedRequest, audit_read, request_refused
from domain.credentials.credential import CredentialDeleted, stream_id
from domain.event_codec import encode
from domain.events.event import CommandMeta, envelope
from keyledger.encryption.key_introduction import introduce_keys
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.rotation import Rotator
from keyledger.log.anchors.anchor import AnchorFile
from keyledger.log.anchors.log_state import look
from keyledger.proofs.checkpoint_signing import Transparency
from keyledger.proofs.signing_keys import LogSigner, generate_signing_key
from keyledger.store_verification import StoreVerdict, verify_snapshot
from projections.database.connections import SNAPSHOT, Connection
from tests.support.postgres import TemplatedServer
from tests.support.rings import BOTH, OLD
from tests.support.store import OTHER_ENCRYPTION_KEY, Store, open_store, unchecked

MUTATIONS = int(os.environ.get("MUTATIONS", "64"))
HONEST_LOGS = int(os.environ.get("HONEST_LOGS", "12"))
PROVIDERS = ("openai", "anthropic", "mistral")
TENANTS = [str(UUID(int=number, version=4)) for number in range(1, 13)]


def now() -> datetime:
    return datetime.now(UTC)


def meta() -> CommandMeta:
    return CommandMeta("olga", "req-1", str(uuid4()), role="operator", source="cli")


@dataclass
class Life:
    """Random operations on an honest store."""

    store: Store
    chance: random.Random

    def step(self) -> None:
        act = self.chance.choices(
            [self.set, self.delete, self.refuse, self.read, self.rotate], weights=[60, 15, 15, 8, 2]
        )[0]
        act()

    def set(self) -> None:
        key = f"sk-{self.chance.getrandbits(64):016x}"
        self.store.set(self.chance.choice(TENANTS), self.chance.choice(PROVIDERS), key)

    def delete(self) -> None:
        tenant, provider = self.chance.choice(TENANTS), self.chance.choice(PROVIDERS)
        if self.store.view.read(tenant, provider).current() is not None:
            self.store.delete(tenant, provider)

    def refuse(self) -> None:
        refused = RefusedRequest(outcome=Outcome.DENIED, method="PUT", route="/r", status=403, code="forbidden")
        self.store.log.append([request_refused(meta(), now(), refused)])

    def read(self) -> None:
        self.store.log.append([audit_read(meta(), now(), "entries", None)])

    def rotate(self) -> None:
        introduce_keys(self.store.log, BOTH, meta(), now)
        rotator = Rotator(self.store.pool, self.store.log, BOTH, now)
        rotator.run(rotator.begin(meta()), meta(), lambda progress: True)


@dataclass
class Scene:
    store: Store
    folder: Path
    events: int

    def verdict(self, connection: Connection) -> StoreVerdict:
        return verify_snapshot(connection, BOTH, self.folder, keys=BOTH.code_keys)


SIGNER = LogSigner(generate_signing_key("scene"))


def sign(store: Store, folder: Path) -> None:
    watch, reader = unchecked(store.pool), store.people.reader
    Transparency(store.pool, store.url, store.tree_follower, watch, SIGNER, folder, now, reader).checkpoint()


def events_of(store: Store) -> int:
    with store.pool.connection() as connection:
        row = connection.execute("SELECT count(*) AS n FROM keyledger_events").fetchone()
    return int(row["n"]) if row else 0


@pytest.fixture(scope="module")
def scene(postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("data")
    with postgres_server.fresh_database() as url, open_store(url, BOTH) as store:
        introduce_keys(store.log, OLD, meta(), now)
        life = Life(store, random.Random(20260101))
        while (events := events_of(store)) < 300:
            life.step()
            if events == 200:
                store.follow()
                sign(store, folder)
        store.follow()
        yield Scene(store, folder, len(store.audit(limit=100_000)))


@pytest.fixture
def superuser(scene: Scene) -> Iterator[Connection]:
    """A transaction without the triggers, that never happened in the end."""
    with psycopg.Connection[dict[str, object]].connect(scene.store.url, row_factory=dict_row) as connection:
        connection.execute("ALTER TABLE keyledger_events DISABLE TRIGGER ALL")
        connection.execute("SAVEPOINT honest")
        yield connection
        connection.rollback()


Expected = tuple[str, int | None]
"""Which part is at fault, `any` where several would do, and at which position; None where it has none."""


def flip(content: bytes, at: int, chance: random.Random) -> bytes:
    return content[:at] + bytes([content[at] ^ chance.randint(1, 255)]) + content[at + 1 :]


def event_at(database: Connection, position: int) -> dict[str, Any]:
    row = database.execute("SELECT * FROM keyledger_events WHERE notification_id = %s", [position]).fetchone()
    assert row is not None
    return row


def changed_byte(database: Connection, scene: Scene, chance: random.Random) -> Expected:
    position = chance.randint(1, scene.events)
    state = bytes(event_at(database, position)["state"])
    changed = flip(state, chance.randrange(len(state)), chance)
    database.execute("UPDATE keyledger_events SET state = %s WHERE notification_id = %s", [changed, position])
    return "any", position


def truncated_event(database: Connection, scene: Scene, chance: random.Random) -> Expected:
    position = chance.randint(1, scene.events)
    state = bytes(event_at(database, position)["state"])
    cut = state[: chance.randrange(len(state))]
    database.execute("UPDATE keyledger_events SET state = %s WHERE notification_id = %s", [cut, position])
    return "any", position


def changed_column(database: Connection, scene: Scene, chance: random.Random) -> Expected:
    position = chance.randint(1, scene.events)
    column, value = chance.choice(
        [("topic", "CredentialSet"), ("topic", "nothing"), ("originator_id", str(uuid4())), ("originator_version", 77)]
    )
    if event_at(database, position)[column] == value:
        value = "CredentialDeleted"
    database.execute(
        f"UPDATE keyledger_events SET {column} = %s WHERE notification_id = %s".encode(), [value, position]
    )
    return "any", position


def close_gap(database: Connection, position: int, by: int) -> None:
    """Move everything from a position on. In two steps: positions are unique at every moment."""
    shift = "UPDATE keyledger_events SET notification_id = notification_id + %s WHERE notification_id >= %s"
    far = 1 << 40
    database.execute(shift.encode(), [far + by, position])
    database.execute(shift.encode(), [-far, far])


def deleted_event(database: Connection, scene: Scene, chance: random.Random) -> Expected:
    position = chance.randint(1, scene.events)
    database.execute("DELETE FROM keyledger_events WHERE notification_id = %s", [position])
    if chance.random() < 0.5:
        close_gap(database, position + 1, -1)
    return "any", position


def cut_tail(database: Connection, scene: Scene, chance: random.Random) -> Expected:
    position = scene.events - chance.randint(0, 20)
    database.execute("DELETE FROM keyledger_events WHERE notification_id >= %s", [position])
    return "any", position


def swapped_events(database: Connection, scene: Scene, chance: random.Random) -> Expected:
    one, other = sorted(chance.sample(range(1, scene.events + 1), 2))
    swap = "UPDATE keyledger_events SET notification_id = %s WHERE notification_id = %s"
    for to, at in ((1 << 40, one), (one, other), (other, 1 << 40)):
        database.execute(swap.encode(), [to, at])
    return "any", one


def inserted_event(database: Connection, scene: Scene, chance: random.Random) -> Expected:
    position = chance.randint(1, scene.events)
    close_gap(database, position, 1)
    event = audit_read(meta(), now(), "entries", None)
    database.execute(
        "INSERT INTO keyledger_events VALUES (%s, %s, %s, %s, %s)",
        [event.originator_id, event.originator_version, event.TOPIC, encode(event), position],
    )
    return "any", position


def forged_deletion(database: Connection, scene: Scene, chance: random.Random) -> Expected:
    live = database.execute("SELECT * FROM current_credentials WHERE token IS NOT NULL").fetchall()
    row = chance.choice(live)
    tenant, provider, version = str(row["tenant_id"]), str(row["provider"]), row["version"]
    assert isinstance(version, int)
    place = envelope(stream_id(tenant, provider), version + 1, meta(), now())
    event = CredentialDeleted(**place, tenant_id=tenant, provider=provider)
    database.execute(
        "INSERT INTO keyledger_events VALUES (%s, %s, %s, %s, %s)",
        [event.originator_id, event.originator_version, event.TOPIC, encode(event), scene.events + 1],
    )
    return "codes", scene.events + 1


def changed_entry(database: Connection, scene: Scene, chance: random.Random) -> Expected:
    position = chance.randint(1, scene.events)
    change = chance.choice(
        [
            "actor = actor || 'x'",
            "outcome = 'failed', reason = 'because'",
            "recorded_at = recorded_at + interval '1 microsecond'",
            "details = '{\"x\": 1}'",
            "client_address = '192.0.2.99'",
            "version = version + 1000",
        ]
    )
    database.execute(f"UPDATE audit_trail SET {change} WHERE position = %s".encode(), [position])
    return "trail", position


def deleted_entry(database: Connection, scene: Scene, chance: random.Random) -> Expected:
    position = chance.randint(1, scene.events)
    database.execute("DELETE FROM audit_trail WHERE position = %s", [position])
    return "trail", position


def invented_entry(database: Connection, scene: Scene, chance: random.Random) -> Expected:
    database.execute(
        "INSERT INTO audit_trail (position, stream_id, version, recorded_at, action, outcome, actor, role, source,"
        " request_id, command_id, node_time, details)"
        " VALUES (%s, gen_random_uuid(), 1, now(), 'set', 'success', 'x', 'x', 'x', 'x', 'x', now(), '{}')",
        [scene.events + 1],
    )
    return "trail", scene.events + 1


def changed_credential(database: Connection, scene: Scene, chance: random.Random) -> Expected:
    row = chance.choice(database.execute("SELECT * FROM current_credentials WHERE token IS NOT NULL").fetchall())
    change = chance.choice(
        [
            "endpoint = 'https://evil.example.com'",
            "token = token || 'x'",
            "version = version - 1",
            "masked_key = '...0000'",
            "token = NULL, binding = NULL, key_id = NULL, masked_key = NULL, set_at = NULL",
        ]
    )
    where = [row["tenant_id"], row["provider"]]
    database.execute(f"UPDATE current_credentials SET {change} WHERE tenant_id = %s AND provider = %s".encode(), where)
    return "current", last_position(database, row)


def deleted_credential_row(database: Connection, scene: Scene, chance: random.Random) -> Expected:
    row = chance.choice(database.execute("SELECT * FROM current_credentials").fetchall())
    where = [row["tenant_id"], row["provider"]]
    database.execute("DELETE FROM current_credentials WHERE tenant_id = %s AND provider = %s", where)
    return "current", last_position(database, row)


def invented_credential_row(database: Connection, scene: Scene, chance: random.Random) -> Expected:
    database.execute(
        "INSERT INTO current_credentials (tenant_id, provider, version, stream_id)"
        " SELECT gen_random_uuid(), provider, version, stream_id FROM current_credentials LIMIT 1"
    )
    return "current", None


def last_position(database: Connection, row: dict[str, Any]) -> int:
    found = database.execute(
        "SELECT max(notification_id) AS n FROM keyledger_events WHERE originator_id = %s", [row["stream_id"]]
    ).fetchone()
    assert found is not None
    position = found["n"]
    assert isinstance(position, int)
    return position


def changed_leaf(database: Connection, scene: Scene, chance: random.Random) -> Expected:
    rows = database.execute("SELECT * FROM transparency_log ORDER BY level, tile").fetchall()
    row = chance.choice(rows)
    hashes, level, tile = bytes(row["hashes"]), row["level"], row["tile"]
    assert isinstance(level, int)
    assert isinstance(tile, int)
    at = chance.randrange(len(hashes))
    database.execute(
        "UPDATE transparency_log SET hashes = %s WHERE level = %s AND tile = %s",
        [flip(hashes, at, chance), level, tile],
    )
    return "tree", tile * 256 + at // 32 + 1 if level == 0 else 1


def deleted_tile(database: Connection, scene: Scene, chance: random.Random) -> Expected:
    row = chance.choice(database.execute("SELECT * FROM transparency_log").fetchall())
    tile, level = row["tile"], row["level"]
    assert isinstance(tile, int)
    database.execute("DELETE FROM transparency_log WHERE level = %s AND tile = %s", [level, tile])
    return "tree", tile * 256 + 1 if level == 0 else 1


Mutation = Callable[[Connection, Scene, random.Random], Expected]
KINDS: tuple[Mutation, ...] = (
    changed_byte,
    truncated_event,
    changed_column,
    deleted_event,
    cut_tail,
    swapped_events,
    inserted_event,
    forged_deletion,
    changed_entry,
    deleted_entry,
    invented_entry,
    changed_credential,
    deleted_credential_row,
    invented_credential_row,
    changed_leaf,
    deleted_tile,
)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.__name__ for kind in KINDS])
def test_every_mutation_by_a_superuser_is_found_with_its_position(
    scene: Scene, superuser: Connection, kind: Mutation
) -> None:
    for number in range(max(1, MUTATIONS // len(KINDS))):
        chance = random.Random(f"{kind.__name__} {number}")
        part, position = kind(superuser, scene, chance)
        error = scene.verdict(superuser).error
        assert error is not None, (kind.__name__, number)
        assert error.position == position, (kind.__name__, number, error)
        assert part in {"any", error.part}, (kind.__name__, number, error)
        superuser.execute("ROLLBACK TO honest")


def test_the_honest_store_is_in_order(scene: Scene, superuser: Connection) -> None:
    verdict = scene.verdict(superuser)
    assert verdict.error is None
    assert (verdict.events, verdict.unopenable) == (scene.events, 0)
    assert verdict.checkpoint_size is not None
    assert verdict.checkpoint_size >= 200
    assert verdict.credentials > 10


def test_rewriting_events_with_their_tree_and_views_contradicts_the_checkpoint(
    scene: Scene, superuser: Connection
) -> None:
    """An attacker who can rewrite everything in the database cannot rewrite what is kept outside it."""
    superuser.execute("DELETE FROM keyledger_events WHERE notification_id > 100")
    for view in ("audit_trail", "current_credentials", "transparency_log"):
        superuser.execute(f"TRUNCATE {view}".encode())
    superuser.execute("UPDATE projection_positions SET position = 0")
    error = scene.verdict(superuser).error
    assert error is not None
    assert error.part in {"checkpoint", "current"}


def test_no_honest_log_is_accused(database_url: str, tmp_path: Path) -> None:
    with open_store(database_url, BOTH) as store:
        introduce_keys(store.log, OLD, meta(), now)
        life = Life(store, random.Random(7))
        for number in range(HONEST_LOGS):
            for _ in range(1 + number % 5):
                life.step()
            if number % 3:
                store.follow()
            if number % 4 == 1:
                sign(store, tmp_path)
            with psycopg.Connection[dict[str, object]].connect(database_url, row_factory=dict_row) as connection:
                verdict = verify_snapshot(connection, BOTH, tmp_path)
            assert verdict.error is None, (number, verdict.error)


def test_a_service_that_appends_and_records_meanwhile_is_not_taken_for_a_log_that_went_back(
    database_url: str, tmp_path: Path
) -> None:
    with open_store(database_url, BOTH) as store:
        introduce_keys(store.log, OLD, meta(), now)
        store.set(TENANTS[0], "openai", "sk-first")

        def goes_on(step: str, done: int, total: int | None) -> None:
            store.set(TENANTS[0], "openai", f"sk-{uuid4()}")
            store.follow()
            sign(store, tmp_path)
            AnchorFile(tmp_path).replace(look(store.pool, []).now)

        goes_on("before", 0, 0)
        with psycopg.Connection[dict[str, object]].connect(database_url, row_factory=dict_row) as connection:
            connection.execute(SNAPSHOT)
            verdict = verify_snapshot(connection, BOTH, tmp_path, goes_on)
        assert (verdict.error, verdict.anchors) == (None, 1)
        assert verdict.checkpoint_size == verdict.events


def test_a_credential_moved_to_another_tenant_does_not_pass_for_its_own(scene: Scene, superuser: Connection) -> None:
    """The log, the tree and the view agree on it; only the binding tells."""
    row = superuser.execute("SELECT * FROM current_credentials WHERE token IS NOT NULL LIMIT 1").fetchone()
    assert row is not None
    other = Keyring(OTHER_ENCRYPTION_KEY)
    assert scene.verdict(superuser).error is None
    without = verify_snapshot(superuser, None, scene.folder)
    assert without.error is None
    assert without.unopenable == without.credentials > 0
    assert verify_snapshot(superuser, other, scene.folder).unopenable < without.unopenable


def test_a_copied_row_is_named_and_not_the_one_it_was_copied_from(scene: Scene, superuser: Connection) -> None:
    copy = (
        "INSERT INTO current_credentials (tenant_id, provider, version, stream_id)"
        " SELECT %s, provider, version, stream_id FROM current_credentials LIMIT 1"
    )
    for tenant in ("00000000-0000-4000-8000-000000000000", "ffffffff-ffff-4fff-bfff-ffffffffffff"):
        superuser.execute(copy, [tenant])
        error = scene.verdict(superuser).error
        assert error is not None
        assert error.tenant_id == tenant
        superuser.execute("ROLLBACK TO honest")
