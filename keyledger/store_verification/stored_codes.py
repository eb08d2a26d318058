"""Checks the code of every event, and that the log begins as each attestation says.

Promises: an event without a right code is named by its position. One that only an attestation covers counts as checked
once the root of the tree over what was attested is the recorded one.
"""

from collections.abc import Sequence

from domain.errors import CredentialIntegrityError
from domain.events.event_code import CodeKey, CodeState, LogRow
from keyledger.evidence.errors import EvidenceError
from keyledger.log.event_codes.attestation import attestations, codes_in
from keyledger.store_verification.stored_tree import StoredTree
from projections.database.connections import Connection

_MEANINGS = {
    CodeState.WRONG: "its code is wrong: no holder of a key of this ledger wrote it, or it was changed or moved",
    CodeState.MISSING: "it has no code: no holder of a key of this ledger wrote it",
    CodeState.ABANDONED: "it is older than the acceptance of a restore before it: it is of the part of the log that the"
    " restore gave up, and was appended again",
    CodeState.UNKNOWN_KEY: "its code is under a key that is not configured, and that was neither retired nor declared"
    " lost: configure that key; if no node ever had it, no holder of a key of this ledger wrote the event",
}


class StoredCodes:
    """Takes every row in log order."""

    def __init__(self, connection: Connection, keys: Sequence[CodeKey]) -> None:
        """keys: none to check nothing. Raises EvidenceError."""
        try:
            self._codes = codes_in(connection, keys)
            found = attestations(connection)
        except CredentialIntegrityError as error:
            raise EvidenceError(f"an attestation of the log cannot be read: {error.reason}", part="codes") from None
        self._roots = {
            event.attested_to: (row.position, event.root)
            for row, event in found
            if self._codes.check(row) is CodeState.RIGHT
        }
        self.unchecked = 0

    @property
    def sizes(self) -> list[int]:
        """The sizes of the tree over which the log was attested."""
        return list(self._roots)

    @property
    def accepted(self) -> frozenset[int]:
        """The positions of forged events that an operator accepted."""
        return self._codes.accepted

    def check(self, row: LogRow) -> None:
        """Check one event. Raises EvidenceError."""
        said = self._codes.check(row)
        if said in _MEANINGS:
            raise EvidenceError(_MEANINGS[said], row.position, part="codes")
        self.unchecked += said in {CodeState.UNCHECKED, CodeState.LOST_KEY}

    def compare_roots(self, tree: StoredTree) -> None:
        """Compare the roots of the attestations with those of the events. Raises EvidenceError."""
        for size, (position, root) in self._roots.items():
            computed = tree.root_at(size)
            if computed is None or computed.hex() != root:
                meaning = f"it attests the first {size} events, but they are others now"
                raise EvidenceError(meaning, position, part="codes")
