"""The values of personal members in a bundle, each with the opening of the commitment that its record shows.

    disclosures.jsonl   one member per line: {"member", "opening", "position", "value"}, by position, then by member

Promises: a value counts only if it is the one that the record's commitment was made over, so a changed, swapped or
invented one is found. Memory is bounded by one record. What is not disclosed is counted: such a member was recorded,
and its key was destroyed since, or it was left out of the bundle.
Refuses: a line for a record that is not in the bundle, or for a member that is not a commitment.
"""

from collections.abc import Mapping
from pathlib import Path

from domain.audit.event_catalogue import BY_TOPIC
from domain.audit.personal_members import IN_EVERY_EVENT
from domain.audit.record import AuditRecord
from domain.events.personal import COMMITTED, OPENING_SIZE, Disclosure, commitment_of, to_bytes, to_text
from keyledger.evidence import layout
from keyledger.evidence.errors import EvidenceError

_COLUMNS = ("fingerprint", *IN_EVERY_EVENT)
_FIELDS: Mapping[str, type] = {"member": str, "opening": str, "position": int, "value": str}


def committed_members(record: AuditRecord) -> Mapping[str, str]:
    """Return the members of a record that are commitments, by name, in the order of their names."""
    kind = BY_TOPIC.get(record.type)
    shown = {name: getattr(record, name) for name in _COLUMNS}
    shown |= {name: record.details.get(name) for name in (kind.DEFINITION.of_person if kind else ())}
    return {name: text for name, text in sorted(shown.items()) if isinstance(text, str) and text.startswith(COMMITTED)}


def line_of(position: int, member: str, disclosed: Disclosure) -> bytes:
    """Return the line of one disclosed member."""
    opening = to_text(disclosed.opening)
    return layout.line_of({"member": member, "opening": opening, "position": position, "value": disclosed.value})


class Disclosures:
    """Takes the records of a bundle in order and checks what the bundle discloses of each."""

    def __init__(self, folder: Path) -> None:
        self._lines = layout.lines(folder, layout.DISCLOSURES)
        self._next = self._read()
        self.disclosed = 0
        self.withheld = 0

    def tell(self, record: AuditRecord) -> None:
        """Check the members of the next record. Raises EvidenceError."""
        committed = committed_members(record)
        before = ""
        while self._next is not None and self._next[0] <= record.position:
            position, member, value = self._next
            if position < record.position or member not in committed or member <= before:
                raise EvidenceError(
                    f"{layout.DISCLOSURES} discloses {member}, which is not a commitment of this record, or out of"
                    " order.",
                    position,
                )
            if COMMITTED + commitment_of(member, value.value, value.opening) != committed[member]:
                raise EvidenceError(f"the disclosed {member} is not the one that was recorded.", position)
            before, self._next = member, self._read()
            self.disclosed += 1
            self.withheld -= 1
        self.withheld += len(committed)

    def finish(self) -> None:
        """Look for lines after the last record. Raises EvidenceError."""
        if self._next is not None:
            meaning = f"{layout.DISCLOSURES} is about this record, but the bundle does not hold it."
            raise EvidenceError(meaning, self._next[0])

    def _read(self) -> tuple[int, str, Disclosure] | None:
        line = next(self._lines, None)
        if line is None:
            return None
        members = layout.parsed(line, _FIELDS)
        try:
            opening = to_bytes(members["opening"]) if members is not None else b""
        except ValueError:
            opening = b""
        if members is None or len(opening) != OPENING_SIZE or to_text(opening) != members["opening"]:
            raise EvidenceError(f"{layout.DISCLOSURES} has a line that is not a disclosure of this format.")
        return members["position"], members["member"], Disclosure(members["value"], opening)
