"""Compares the anchors outside the database with the snapshot that is verified.

Promises: a place that cannot be read or reached is an error, since nothing was compared with it.
"""

from collections.abc import Sequence

from keyledger.evidence.errors import EvidenceError
from keyledger.log.anchor_places import AnchorPlace
from keyledger.log.contradiction import Kind
from keyledger.log.durable_file import UnreadableFileError
from keyledger.log.log_state import Known, look_through
from projections.database.connections import Connection

PART = "anchor"


def require_anchored(connection: Connection, places: Sequence[AnchorPlace]) -> int:
    """Return how many anchors were compared. Raises EvidenceError unless the ledger is the recorded one and grew."""
    known: list[Known] = []
    for place in places:
        try:
            found = place.known()
        except UnreadableFileError:
            raise EvidenceError(f"the anchor {place.file.path} cannot be read", part=PART) from None
        if place.problem:
            raise EvidenceError(place.problem, part=PART)
        if found is not None:
            known.append(found)
    contradiction = look_through(connection, known).contradiction if known else None
    # A tree that is behind is not an error of the verification: it was compared as far as it goes.
    if contradiction is not None and contradiction.kind is not Kind.UNPROVEN:
        raise EvidenceError(contradiction.detail, part=PART)
    return len(known)
