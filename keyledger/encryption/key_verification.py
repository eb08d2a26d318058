"""Verifies that no encryption key but the primary one is needed any more.

Three things must hold: no live credential is sealed under another key; each opens with a ring of only the primary key;
both projections equal their replay from the log, so that the list of live credentials is complete.
Promises: nothing is changed; no plaintext is kept after its check; errors are reported by tenant and provider.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from psycopg_pool import ConnectionPool

from domain.credentials.stored import Stored
from domain.errors import CredentialIntegrityError, UnreadableCredentialError
from domain.operations.rotation import Unopened
from keyledger.encryption.keyring import Keyring
from projections.credentials.current_credentials import count_under_other_keys, read_under_other_keys
from projections.database.connections import BoundedConnection
from projections.replay.replaying import PROJECTIONS, ReplayResult, compare

BATCH = 500
SHOWN_ERRORS = 100
_NO_KEY = ""
"""No credential is sealed under this key id, so all of them are "under other keys"."""

Watch = Callable[[str, int, int], None]
"""watch(step, done, total): called as each step proceeds."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The result. on_other_keys: included in those that do not open. unopened: the first `SHOWN_FAULTS` of those."""

    key_id: str
    live: int
    on_other_keys: int
    unopened_count: int
    unopened: tuple[Unopened, ...]
    projections: tuple[ReplayResult, ...]

    @property
    def holds(self) -> bool:
        """Whether the primary key alone is enough."""
        return not self.reasons

    @property
    def reasons(self) -> Sequence[str]:
        """A text for each condition that does not hold."""
        broken = self.unopened_count - self.on_other_keys
        told = (
            (self.on_other_keys, f"live credentials are sealed under other keys: {self.on_other_keys}"),
            (broken, f"live credentials do not open with the key {self.key_id} alone: {broken}"),
            *(
                (
                    projection.difference_count,
                    f"{projection.projection} differs from its replay in rows: {projection.difference_count}",
                )
                for projection in self.projections
            ),
        )
        return [text for count, text in told if count]


def verify(dsn: str, pool: ConnectionPool[BoundedConnection], alone: Keyring, watch: Watch) -> Verification:
    """Check every live credential, and compare both projections with their replay.

    alone: a ring with only the primary key. Raises StoreUnavailableError, CredentialIntegrityError, and what
    `projections.replay.replaying.compare` raises.
    """
    live, others, errors = _open_all(pool, alone, watch)
    projections = [compare(dsn, name, partial(watch, f"replaying {name}")) for name in PROJECTIONS]
    return Verification(alone.primary_id, live, others, len(errors), tuple(errors[:SHOWN_ERRORS]), tuple(projections))


def _open_all(pool: ConnectionPool[BoundedConnection], alone: Keyring, watch: Watch) -> tuple[int, int, list[Unopened]]:
    total, done, others = count_under_other_keys(pool, _NO_KEY), 0, 0
    errors: list[Unopened] = []
    after: tuple[str, str, str] | None = None
    watch("opening credentials", 0, total)
    while batch := read_under_other_keys(pool, _NO_KEY, after, BATCH):
        for stored in batch:
            row = stored.row
            if row is None or row.sealed is None:
                continue
            after = (row.sealed.key_id, row.tenant_id, row.provider)
            others += row.sealed.key_id != alone.primary_id
            if reason := _error(stored, alone):
                errors.append(Unopened(row.tenant_id, row.provider, reason))
            done += 1
        watch("opening credentials", done, max(done, total))
    return done, others, errors


def _error(stored: Stored, alone: Keyring) -> str | None:
    try:
        credential = stored.current()
        if credential is not None and credential.sealed is not None:
            alone.open(credential.sealed, credential.context)
    except (CredentialIntegrityError, UnreadableCredentialError) as error:
        return error.reason
    return None
