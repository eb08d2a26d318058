"""A key is retired when nothing needs it, and refused with every reason otherwise."""

from domain.audit.entries import Action
from domain.errors import ErrorCode
from keyledger.encryption.key_retirement import Retirer
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.nodes import Presence
from keyledger.encryption.rotation_rows import RotationRows
from tests.support.checker import check
from tests.support.errors import raises
from tests.support.rings import BOTH, NEW, OLD, fill, meta, now, rotate, rotator, statuses, tenants
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY, Store, open_store


def retirer(store: Store) -> Retirer:
    return Retirer(store.url, store.pool, store.log, NEW, statuses(store), now)


def reasons(store: Store, key_id: str) -> tuple[str, ...]:
    with raises(ErrorCode.KEY_NOT_RETIRABLE) as refused:
        retirer(store).plan(key_id, lambda step, done, total: None)
    said = refused.value.detail
    return tuple(said.removeprefix("The key cannot be retired: ").removesuffix(".").split("; "))


def test_a_key_that_nothing_needs_is_retired_and_the_trail_says_what_is_lost(database_url: str) -> None:
    fill(database_url, 2)
    with open_store(database_url, BOTH) as store:
        store.delete(tenants(2)[1], "openai")
        rotate(store)
        one = retirer(store)
        plan = one.plan(OLD.primary_id, lambda step, done, total: None)
        assert plan.unrecoverable == 2
        one.carry_out(plan, meta())
        check(store)
        last = store.audit()[-1]
        assert (last.action, last.actor, last.key_id, last.details) == (
            Action("key-retired"),
            "olga",
            OLD.primary_id,
            {"unrecoverable": 2},
        )
        assert "it is retired already" in reasons(store, OLD.primary_id)


def test_before_the_rotation_it_is_refused(database_url: str) -> None:
    fill(database_url, 2)
    with open_store(database_url, BOTH) as store:
        assert reasons(store, OLD.primary_id) == ("live credentials are sealed under other keys: 2",)


def test_the_primary_key_and_an_unknown_one_are_refused(database_url: str) -> None:
    fill(database_url, 1)
    with open_store(database_url, BOTH) as store:
        rotate(store)
        assert reasons(store, NEW.primary_id) == ("it is the primary key",)
        assert reasons(store, "kffffffffff") == ("the log does not know a key of this id",)


def test_every_reason_is_told_at_once(database_url: str) -> None:
    fill(database_url, 1)
    with open_store(database_url, BOTH) as store:
        Presence(store.pool).beat(Keyring(ENCRYPTION_KEY, [OTHER_ENCRYPTION_KEY]))
        RotationRows(store.pool).open(rotator(store).begin(meta()))
        sealing, running, live = reasons(store, OLD.primary_id)
    assert sealing.startswith("it is the primary key of ")
    assert running == "a rotation is running"
    assert live == "live credentials are sealed under other keys: 1"


def test_what_changed_after_the_plan_is_noticed(database_url: str) -> None:
    fill(database_url, 1)
    with open_store(database_url, BOTH) as store:
        rotate(store)
        one = retirer(store)
        plan = one.plan(OLD.primary_id, lambda step, done, total: None)
        with open_store(database_url, OLD) as late:
            late.set(tenants(1)[0], "openai", "sk-late-0123456789")
        with raises(ErrorCode.KEY_NOT_RETIRABLE, match="sealed under it: 1"):
            one.carry_out(plan, meta())
