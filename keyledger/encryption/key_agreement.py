"""Ensures, before a node seals anything, that all nodes on one database can open what the others seal.

Promises: a node does not start to serve if another live node does not know its primary key, or it does not know the
other's. It waits as long as the row of a node that is gone can remain, logs for which node, and starts as soon as that
node ends or gets the key. Nodes with the same keys never wait for each other, and a waiting node blocks no other.
Checking and registering are one step, so of two nodes that start at once the second sees the first.
Only rows that a node with one of these keys wrote count (`keyledger.encryption.nodes`): write access to the table
prevents no start, except that of a ledger in which nothing is sealed yet.
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
    """Wait until this node and every live node know each other's primary key, then register this node.

    Raises StartError if they still do not after `PATIENCE_S` seconds, and StoreUnavailableError.
    """
    deadline, told = clock() + PATIENCE_S, list[str]()
    while found := _join(presence, keyring):
        if clock() >= deadline:
            raise StartError(f"{'; '.join(found)}. Give every node both keys, or stop the node that lacks one")
        if found != told:
            _log.warning("waiting for up to %.0f s: %s", deadline - clock(), "; ".join(found))
            told = found
        pause(LOOK_S)


def _join(presence: Presence, keyring: Keyring) -> list[str]:
    """Register this node, or return why it cannot be."""
    found: list[str] = []

    def decide(others: Sequence[Node]) -> Keyring | None:
        nonlocal found
        found = disagreements(others, keyring)
        return None if found else keyring

    presence.settle(keyring, decide)
    return found


def disagreements(nodes: Sequence[Node], keyring: Keyring) -> list[str]:
    """Return, as texts, why these nodes and one with this ring could not open what each other seals."""
    mine = keyring.primary_id
    unknown_there = [f"the node {one.name} does not know the key {mine}" for one in nodes if mine not in one.key_ids]
    unknown_here: Sequence[str] = [
        f"the node {one.name} seals with the key {one.primary_id}, which is not configured here"
        for one in nodes
        if one.primary_id not in keyring.key_ids
    ]
    return [*unknown_there, *unknown_here]
