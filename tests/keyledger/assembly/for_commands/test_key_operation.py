"""Commands about encryption keys wait until every node seals with the next key, but not for ever."""

import pytest

from keyledger.assembly.for_commands.key_operation import wait_for


@pytest.mark.parametrize("adopted_after", [0, 1, 19], ids="{} s".format)
def test_nodes_have_twenty_seconds_to_seal_with_the_next_key(adopted_after: int) -> None:
    waited: list[float] = []
    told: list[str] = []
    wait_for(lambda: ["a", "b"] if sum(waited) < adopted_after else [], told.append, waited.append)
    assert sum(waited) == adopted_after
    assert told == ["waiting until the new key is in use on a, b"] * bool(adopted_after)


def test_a_node_that_never_adopts_the_key_is_waited_for_no_longer() -> None:
    waited: list[float] = []
    wait_for(lambda: ["a"], lambda text: None, waited.append)
    assert sum(waited) == 20
