"""Reports what each encryption key is still needed for, counted from the log and the projections.

Promises: a key that a live credential needs, or that a running service still seals with, is never reported as safe to
remove; every key in the log, in the ring or of a live credential is listed. Nothing is decrypted.
Refuses: to show a malformed key id, because an edited row may hold anything.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from psycopg_pool import ConnectionPool

from domain.events.event_log import StreamLog
from domain.operations.encryption_keys import KEYRING_STREAM, Keys, replay
from domain.operations.rotation import KeyState, KeyStatus
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.nodes import live_nodes
from projections.catch_up import CatchUp
from projections.credentials.key_counts import KeyCounts
from projections.database.connections import BoundedConnection

MALFORMED = "malformed"
_KEY_ID = re.compile("k[0-9a-f]{10}")
_ORDER = (KeyState.PRIMARY, KeyState.PREVIOUS, KeyState.MISSING, KeyState.RETIRED)


@dataclass(frozen=True, slots=True)
class _Use:
    """How often a key was used. sealed: in the whole history, including live credentials."""

    live: int = 0
    sealed: int = 0

    @property
    def superseded(self) -> int:
        """The number of past secrets no longer in use; an edited row cannot make it negative."""
        return max(0, self.sealed - self.live)


class KeyStatuses:
    """Reports the state of every encryption key, as one service with its ring sees it."""

    def __init__(
        self, pool: ConnectionPool[BoundedConnection], log: StreamLog, keyring: Keyring, follower: CatchUp
    ) -> None:
        """follower: updates the audit trail, from which the history is counted."""
        self._pool = pool
        self._log = log
        self._keyring = keyring
        self._counts = KeyCounts(pool, follower)

    def all(self) -> Sequence[KeyStatus]:
        """Return every key, the primary first. Raises StoreUnavailableError, CredentialIntegrityError."""
        known = replay(self._log.stream(KEYRING_STREAM))
        uses = self._uses()
        sealing = self.sealing()
        names = {*known.introduced, *known.retired, *self._keyring.key_ids, *uses}
        found = [self._status(name, known, uses.get(name, _Use()), sealing.get(name, ())) for name in sorted(names)]
        return sorted(found, key=lambda one: _ORDER.index(one.state))

    def sealing(self) -> Mapping[str, Sequence[str]]:
        """Return the names of the running services by the key that they seal with. Raises StoreUnavailableError."""
        sealing = defaultdict[str, list[str]](list)
        for node in live_nodes(self._pool, self._keyring):
            sealing[node.primary_id].append(node.name)
        return sealing

    def _uses(self) -> dict[str, _Use]:
        uses: dict[str, _Use] = {}
        for key_id, count in self._counts.all().items():
            name = key_id if _KEY_ID.fullmatch(key_id) else MALFORMED
            before = uses.get(name, _Use())
            uses[name] = _Use(before.live + count.live, before.sealed + count.sealed)
        return uses

    def _status(self, key_id: str, known: Keys, use: _Use, sealing: Sequence[str]) -> KeyStatus:
        state = self._state(key_id, known)
        safe, reason = self._safe_to_remove(key_id, state, use, sealing)
        return KeyStatus(
            key_id=key_id,
            state=state,
            introduced_at=known.introduced.get(key_id),
            retired_at=known.retired.get(key_id),
            live=use.live,
            superseded=use.superseded,
            safe_to_remove=safe,
            reason=reason,
        )

    def _state(self, key_id: str, known: Keys) -> KeyState:
        if key_id == self._keyring.primary_id:
            return KeyState.PRIMARY
        if key_id in known.retired:
            return KeyState.RETIRED
        return KeyState.PREVIOUS if key_id in self._keyring.key_ids else KeyState.MISSING

    def _safe_to_remove(self, key_id: str, state: KeyState, use: _Use, sealing: Iterable[str]) -> tuple[bool, str]:
        configured = key_id in self._keyring.key_ids
        if state is KeyState.PRIMARY:
            return False, "new credentials are sealed under it"
        if use.live and configured:
            return False, f"live credentials are sealed under it: {use.live}; rotate with: keyledger keys rotate"
        if use.live:
            return False, f"live credentials need it: {use.live}; add it to ENCRYPTION_KEY_PREVIOUS, or set them again"
        if names := sorted(sealing):
            return False, f"still the primary key of {', '.join(names)}"
        if state is KeyState.RETIRED:
            return True, "still configured: remove it from ENCRYPTION_KEY_PREVIOUS" if configured else "retired"
        if not configured:
            return True, "not configured, and no live credential needs it"
        return True, f"no live credential needs it; retire it with: keyledger keys retire {key_id}"
