"""Ensures that a command which one node makes a proposal of is not carried out at once by another.

Promises: a node requires a second person for everything that its own APPROVALS, or that of a running node, names. Each
node publishes its own setting, never what it learned, so a command that no node names any more needs no one. A setting
that is added applies to the other nodes with their next heartbeat. Only rows that a node with a key of the reader
wrote count, so write access to the table adds nothing.
"""

from collections.abc import Collection, Sequence

from domain.approvals.needs import Approval
from keyledger.encryption.node_codes import Standing
from keyledger.encryption.node_release import approvals_of
from keyledger.encryption.nodes import Node


def agreed_approvals(own: Collection[Approval], nodes: Sequence[Node]) -> frozenset[Approval]:
    """Return the commands that need a second person. own: those that APPROVALS names here. nodes: running ones."""
    genuine = (node for node in nodes if node.standing is Standing.GENUINE)
    return frozenset(own).union(*(approvals_of(node.version) for node in genuine))
