"""Nodes on one database open what the others seal: what a start makes sure of before it seals anything.

Promises: a node whose primary key another live node does not know, or that does not know another's, never begins to
serve. It waits for as long as the row of a node that is gone may stay, says for whom, and goes on as soon as that node
ends or gets the key; nodes with the same keys never wait for each other, and one that waits stands in nobody's way.
That it agrees and that the others see it is one step, so that of two that begin at once the second finds the first.
Rows are believed as they are: whoever can write them can stop a start, and nothing else.
"""

import logging
import time
from collections.abc import Callable, Sequence

from keyledger.encryption.keyring import Keyring
from keyledger.encryption.nodes import LIVE_S, Node, Presence
from keyledger.start_error import StartError

LOOK_S = 0.5
"""Seconds between two looks at the other nodes."""
PATIENCE_S = LIVE_S + 2 * LOOK_S

_log = logging.getLogger("keyledger.encryption.nodes")


def require_agreement(
    presence: Presence,
    keyring: Keyring,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until each live node knows the primary key of this one, and the other way round; then be one of them.

    Raises StartError when they still do not after `PATIENCE_S` seconds, StoreUnavailableError.
    """
    deadline, told = clock() + PATIENCE_S, list[str]()
    while found := _join(presence, keyring):
        if clock() >= deadline:
            raise StartError(f"{'; '.join(found)}. Give every node both keys, or stop the one that lacks one")
        if found != told:
            _log.warning("waits for up to %.0f s: %s", deadline - clock(), "; ".join(found))
            told = found
        pause(LOOK_S)


def _join(presence: Presence, keyring: Keyring) -> list[str]:
    """Be a node among the others, or return why not."""
    found: list[str] = []

    def decide(others: Sequence[Node]) -> Keyring | None:
        nonlocal found
        found = disagreements(others, keyring)
        return None if found else keyring

    presence.settle(decide)
    return found


def disagreements(nodes: Sequence[Node], keyring: Keyring) -> list[str]:
    """Return, for people, why these nodes and one with this ring could not open what one another seals."""
    mine = keyring.primary_id
    unknown_there = [f"the node {one.name} does not know the key {mine}" for one in nodes if mine not in one.key_ids]
    unknown_here: Sequence[str] = [
        f"the node {one.name} seals with the key {one.primary_id}, which is not configured here"
        for one in nodes
        if one.primary_id not in keyring.key_ids
    ]
    return [*unknown_there, *unknown_here]
