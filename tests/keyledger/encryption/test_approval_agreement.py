"""A command that needs a second person on one running node needs one on all of them."""

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.approvals.needs import Approval
from domain.audit.event_catalogue import EVENT_FORM
from keyledger.encryption.approval_agreement import agreed_approvals
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.node_release import approvals_of, form_of, naming, own_release, without_approvals
from keyledger.encryption.nodes import Presence, running_nodes
from tests.support.rings import NEW, OLD
from tests.support.store import Store

DELETE, THAW, POLICY = Approval.DELETE, Approval.THAW, Approval.POLICY


def running(store: Store, keyring: Keyring | None, approvals: Collection[Approval]) -> Presence:
    presence = Presence(store.pool)
    presence.approvals = approvals
    presence.beat(keyring)
    return presence


def agreed(store: Store, *own: Approval) -> set[Approval]:
    return set(agreed_approvals(own, running_nodes(store.pool, OLD)))


def test_a_command_needs_a_second_person_while_any_running_node_names_it(store: Store) -> None:
    assert agreed(store, THAW) == {THAW}
    first, second = running(store, OLD, [DELETE]), running(store, OLD, [POLICY, DELETE])
    assert agreed(store, THAW) == {THAW, DELETE, POLICY}
    second.leave()
    assert agreed(store) == {DELETE}
    first.approvals = ()
    first.beat(OLD)
    assert agreed(store) == set(), "a node publishes its own setting, not what it learned"


@pytest.mark.parametrize("keyring", [None, NEW], ids=["without keys", "with other keys"])
def test_a_node_that_proves_nothing_adds_nothing(store: Store, keyring: Keyring | None) -> None:
    running(store, keyring, [DELETE])
    assert agreed(store) == set()


def test_a_row_that_was_changed_adds_nothing(store: Store) -> None:
    running(store, OLD, [])
    with store.superuser() as database:
        database.execute("UPDATE nodes SET version = replace(version, '+', '+approvals.delete.')")
    assert agreed(store) == set()


@given(st.sets(st.sampled_from(Approval)), st.sampled_from(["1.0.0", "1.0.0+local.7"]))
def test_a_release_names_the_commands_and_still_its_form(named: set[Approval], program: str) -> None:
    release = f"{program}{'.' if '+' in program else '+'}form.{EVENT_FORM}"
    naming_them = naming(release, named)
    assert (set(approvals_of(naming_them)), form_of(naming_them)) == (named, EVENT_FORM)
    assert without_approvals(naming_them) == release


def test_commands_that_this_program_does_not_know_are_left_out() -> None:
    assert approvals_of("9.0.0+approvals.delete.teleport.form.9") == {DELETE}
    assert approvals_of(own_release()) == set()
