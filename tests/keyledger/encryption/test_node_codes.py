"""Rows of `nodes` that no node wrote: they stop nothing, and they are named."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from domain.events.event import CommandMeta
from keyledger.encryption.key_agreement import require_agreement
from keyledger.encryption.keyring import Keyring, generate_encryption_key
from keyledger.encryption.node_codes import Standing
from keyledger.encryption.nodes import Presence, live_nodes, running_nodes, strays
from keyledger.encryption.rotation import Rotator
from keyledger.start_error import StartError
from tests.support.rings import BOTH, NEW, OLD
from tests.support.service import client_of, environment, served
from tests.support.store import Store, open_store

TENANT = str(uuid4())
STRANGER = Keyring(generate_encryption_key())
META = CommandMeta("anna", "req-1", "cmd-1")
META_TIME = datetime(2026, 3, 1, tzinfo=UTC)

Attack = Callable[[Store], None]


def by_hand(statement: str) -> Attack:
    def attack(store: Store) -> None:
        Presence(store.pool).beat(BOTH)
        with store.superuser() as database:
            database.execute(statement.encode())

    return attack


def by_an_unknown_key(store: Store) -> None:
    """All codes are right, under a key that the stranger made."""
    Presence(store.pool).beat(STRANGER)


def by_a_node_that_ended(store: Store) -> None:
    """The row of a node that knew only the old key, taken down while it ran and renewed by hand."""
    Presence(store.pool).beat(OLD)
    with store.superuser() as database:
        database.execute("CREATE TABLE taken AS TABLE nodes")
        database.execute("UPDATE taken SET process = '', seen_at = clock_timestamp() + interval '1 second'")
        database.execute("TRUNCATE nodes")
        database.execute("INSERT INTO nodes SELECT * FROM taken")


INSERT = "INSERT INTO nodes (version, node_id, name, process, primary_key_id, key_ids, seen_at, codes) VALUES"
FORGED = f"{INSERT} ('', gen_random_uuid(), 'evil'"
ATTACKS = {
    "a row without a code": by_hand(f"{FORGED}, '', '{OLD.primary_id}', '{{{OLD.primary_id}}}', now(), '{{}}')"),
    "a row with a wrong code": by_hand(
        f"{FORGED}, '', '{OLD.primary_id}', '{{{OLD.primary_id}}}', now(), ARRAY[sha256('')])"
    ),
    "a row with codes that are null": by_hand(
        f"{FORGED}, '', '{OLD.primary_id}', '{{{OLD.primary_id}}}', now(), ARRAY[NULL::bytea])"
    ),
    "a row with malformed key ids": by_hand(f"{FORGED}, '', '{OLD.primary_id}', '{{NULL, x}}', now(), '{{}}')"),
    "a row of an unknown key": by_hand(f"{FORGED}, '', 'k0000000000', '{{k0000000000}}', now(), '{{}}')"),
    "a row with a malformed process": by_hand(
        f"{FORGED}, (SELECT regexp_replace(process, '[0-9]+/[0-9]+$', 'x/y') FROM nodes), '{OLD.primary_id}',"
        f" '{{{OLD.primary_id}}}', now(), '{{}}')"
    ),
    "a row from the future": by_hand(f"{FORGED}, '', '{OLD.primary_id}', '{{}}', 'infinity', '{{}}')"),
    "a row in which a key was removed": by_hand(f"UPDATE nodes SET key_ids = '{{{OLD.primary_id}}}'"),
    "a row in which a key and its code were removed": by_hand(
        f"UPDATE nodes SET codes = codes[array_position(key_ids, '{OLD.primary_id}'):"
        f"array_position(key_ids, '{OLD.primary_id}')], key_ids = '{{{OLD.primary_id}}}',"
        f" primary_key_id = '{OLD.primary_id}'"
    ),
    "a row of another process": by_hand("UPDATE nodes SET name = 'evil', process = 'elsewhere/1/2/3'"),
    "a row under another node id": by_hand("UPDATE nodes SET node_id = gen_random_uuid()"),
    "a row of a node that ended": by_a_node_that_ended,
    "a row under a key of the stranger": by_an_unknown_key,
}
"""What a role may write that has the rights of the service on this table, and no key."""
UNSEEN = {"a row from the future"}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_forged_row_stops_no_rotation_and_no_start(store: Store, attack: Attack) -> None:
    with open_store(store.url, OLD) as before:
        before.set(TENANT, "openai", "sk-live-0123456789")
    attack(store)
    rotator = Rotator(store.pool, store.log, BOTH, lambda: META_TIME)
    assert rotator.plan().obstacles == ()
    rotator.begin(META)
    require_agreement(Presence(store.pool), BOTH, pause=_never)


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in UNSEEN])
def test_a_forged_row_is_no_node_and_is_named(store: Store, name: str) -> None:
    ATTACKS[name](store)
    assert [node.standing for node in strays(store.pool, BOTH)] in ([Standing.FORGED], [Standing.FOREIGN])
    assert all(node.name.startswith("evil") is False for node in live_nodes(store.pool, BOTH))


def test_a_node_counts_for_every_reader_that_shares_a_key_with_it(store: Store) -> None:
    Presence(store.pool).beat(OLD)
    assert [node.standing for node in running_nodes(store.pool, OLD)] == [Standing.GENUINE]
    assert [node.standing for node in running_nodes(store.pool, BOTH)] == [Standing.GENUINE]
    assert [node.standing for node in running_nodes(store.pool, NEW)] == [Standing.FOREIGN]
    assert [node.standing for node in running_nodes(store.pool, None)] == [None]
    assert Rotator(store.pool, store.log, BOTH, lambda: META_TIME).plan().obstacles, "it does not know the new key"


def test_while_nothing_is_sealed_a_node_of_other_keys_holds_up_a_start(store: Store) -> None:
    """Nothing tells a genuine node from a forged row then, and the two could not open what each other seals."""
    Presence(store.pool).beat(OLD)
    seconds = iter(range(100))
    with pytest.raises(StartError, match=f"seals with the key {OLD.primary_id}"):
        require_agreement(Presence(store.pool), NEW, clock=lambda: float(next(seconds)), pause=lambda _: None)


def test_readiness_counts_forged_rows_and_stays(database_url: str) -> None:
    with served(database_url, environment()) as url, client_of(url) as client, open_store(database_url) as store:
        ATTACKS["a row without a code"](store)
        check = client.http.get("/readyz").json()["checks"]["encryption_keys"]
    assert check["ok"]
    assert "ignored rows of the table nodes, written by no node with these keys: " in check["text"]


def _never(seconds: float) -> None:
    raise AssertionError("a start waited for a forged row")
