"""Compares the personal members of the log with their keys.

Each member is sealed, and each key exists or was destroyed, as the log says.

Memory is bounded by the number of keys.
"""

from domain.audit.personal_members import sealed_members_of, subjects_of
from domain.events.personal import is_sealed, parse
from domain.operations.erasure import PersonalDataExpired, PersonErased
from keyledger.evidence.errors import EvidenceError
from projections.catch_up import Appended
from projections.database.connections import Connection


class StoredPeople:
    """Takes every event in log order."""

    def __init__(self, connection: Connection) -> None:
        self._keys = {row["reference"] for row in connection.execute("SELECT reference FROM personal_keys")}
        self._missing: dict[str, int] = {}
        self._erased: set[str] = set()
        self._expired_before = ""

    def check(self, appended: Appended) -> None:
        """Note which keys the members of an event need and which ones the event ended. Raises EvidenceError."""
        event = appended.event
        if isinstance(event, PersonErased):
            self._erased.add(event.person)
        elif isinstance(event, PersonalDataExpired):
            self._expired_before = max(self._expired_before, event.before.replace("-", ""))
        about = subjects_of(event)
        for name in (*about.of_person, *about.of_search, *about.of_tenant):
            if not is_sealed(getattr(event, name)):
                raise EvidenceError(f"its {name} is in clear", appended.position, part="people")
        for place, text in sealed_members_of(event):
            try:
                needed = parse(text).keys
            except ValueError:
                meaning = f"its {place.member} is not a sealed member"
                raise EvidenceError(meaning, appended.position, part="people") from None
            for reference in needed:
                if reference not in self._keys:
                    self._missing.setdefault(reference, appended.position)

    def finish(self) -> None:
        """Look for keys that are missing although no erasure is recorded. Raises EvidenceError."""
        for reference, position in self._missing.items():
            person, _, day = reference.partition("@")
            if person not in self._erased and not (day and day < self._expired_before):
                meaning = "a key of its personal members is gone, and no erasure is recorded"
                raise EvidenceError(meaning, position, part="people")
