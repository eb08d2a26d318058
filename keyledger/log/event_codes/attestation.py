"""Attests the log under the present key, and reads which attestations count.

Promises: what is attested was checked before: no event with a wrong code is attested unless an operator accepts it. The
events from before the first key are attested once, when a service first starts with a key; those that a signing key
authenticated, when one starts with an encryption key as well.
Refuses: to attest a log with an event whose key is not at hand, or anything that was appended after the check.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from psycopg_pool import ConnectionPool

from domain.errors import CredentialIntegrityError
from domain.event_codec import decode
from domain.events.event import Clock, CommandMeta
from domain.events.event_code import SIGNING, CodeKey, CodeState, EventCodes, LogRow, require_code
from domain.operations.attestation import ATTESTATION_STREAM, LogAttested, attest_log, believed
from domain.operations.restore import RESTORE_STREAM
from domain.proofs.tiles import TileBuilder
from keyledger.log.decided_append import TRIES, append_decided
from keyledger.log.event_store import CredentialLog
from projections.catch_up import BATCH, every_row, read_all, read_stream
from projections.database.connections import BoundedConnection, Connection, unavailable
from projections.proofs import transparency_log

_log = logging.getLogger("keyledger.audit")
_LAST_HAS_CODE = "SELECT code IS NOT NULL AS coded FROM keyledger_events ORDER BY notification_id DESC LIMIT 1"
_ENDS = """
SELECT code_key_id FROM ((SELECT code_key_id FROM keyledger_events WHERE notification_id > %(attested)s
                           ORDER BY notification_id LIMIT 1)
                         UNION ALL
                         (SELECT code_key_id FROM keyledger_events WHERE notification_id > %(attested)s
                           ORDER BY notification_id DESC LIMIT 1)) AS ends
"""
_BEFORE_CODES = """
SELECT coalesce((SELECT min(notification_id) - 1 FROM keyledger_events WHERE code IS NOT NULL),
                (SELECT max(notification_id) FROM keyledger_events), 0) AS position
"""


def read_codes(pool: ConnectionPool[BoundedConnection], keys: Iterable[CodeKey]) -> EventCodes:
    """Return the codes of the ledger in the database, as its attestations stand.

    Raises StoreUnavailableError, CredentialIntegrityError.
    """
    with unavailable(), pool.connection() as connection:
        return codes_in(connection, keys)


def codes_in(connection: Connection, keys: Iterable[CodeKey]) -> EventCodes:
    """Return what `read_codes` does, in the caller's transaction."""
    row = connection.execute("SELECT ledger_id FROM keyledger_ledger").fetchone()
    if row is None:
        raise CredentialIntegrityError("ledger-id-missing")
    found, codes = attestations(connection), EventCodes(row["ledger_id"], keys)
    attested = believed(found, codes)
    for restore in read_stream(connection, RESTORE_STREAM):
        attested = attested.with_restore(restore)
    # Once more: an attestation may itself be of a part that was given up.
    return believed(found, codes.with_restores_of(attested))


def attestations(connection: Connection) -> list[tuple[LogRow, LogAttested]]:
    """Return every event of the stream of attestations, the newest first. Raises CredentialIntegrityError."""
    rows = reversed(read_stream(connection, ATTESTATION_STREAM))
    found = [(row, decode(row.stream, row.version, row.topic, row.state)) for row in rows]
    return [(row, event) for row, event in found if isinstance(event, LogAttested)]


def has_codes(pool: ConnectionPool[BoundedConnection]) -> bool:
    """Return whether the last event of the log has a code: from the first one on, each needs one."""
    with unavailable(), pool.connection() as connection:
        row = connection.execute(_LAST_HAS_CODE).fetchone()
    return bool(row and row["coded"])


def unchecked_codes(pool: ConnectionPool[BoundedConnection], codes: EventCodes) -> int:
    """Check the code of every event, and return the number of events whose code could not be checked.

    Raises StoreUnavailableError, and CredentialIntegrityError that names the first forged one.
    """
    with unavailable(), pool.connection() as connection:
        said = Counter(require_code(row, codes) for row in every_row(connection, 0))
    return said[CodeState.UNCHECKED] + said[CodeState.LOST_KEY]


def attest_first(pool: ConnectionPool[BoundedConnection], log: CredentialLog, meta: CommandMeta, clock: Clock) -> None:
    """Attest the events from before the first key, if there are any and it was not done.

    Raises StoreUnavailableError, CredentialIntegrityError.
    """
    if log.codes.primary_id is None or log.codes.attested:
        return
    with unavailable(), pool.connection() as connection:
        if attestations(connection):
            return
    for _ in range(TRIES):
        with unavailable(), pool.connection() as connection:
            upto = _before_codes(connection)
        if upto == log.codes.attested:
            return  # otherwise a node without a key appended in between
        transparency_log.follower(pool).run()
        with unavailable(), pool.connection() as connection:
            _require_as_in_tree(connection, upto)
        _attest(pool, log, meta, clock, upto)


def attest_signed(pool: ConnectionPool[BoundedConnection], log: CredentialLog, meta: CommandMeta, clock: Clock) -> None:
    """Attest what a signing key authenticated, if this node has an encryption key; then the former may be replaced.

    Looks at the first and the last event that is not attested. Logs why it cannot attest. Raises StoreUnavailableError.
    """
    if not log.codes.seals:
        return
    with unavailable(), pool.connection() as connection:
        ends = connection.execute(_ENDS, {"attested": log.codes.attested}).fetchall()
    if any((end["code_key_id"] or "").startswith(SIGNING) for end in ends):
        Attesting(pool, log, clock, lost_keys=False).or_say_why(meta)


def _before_codes(connection: Connection) -> int:
    """Return the position before the first event with a code. A later one without a code is forged, not older."""
    row = connection.execute(_BEFORE_CODES).fetchone()
    return row["position"] if row else 0


def _require_as_in_tree(connection: Connection, upto: int) -> None:
    """Raise CredentialIntegrityError unless the tree was made from the first events as they are: no code shows it."""
    builder = TileBuilder()
    for batch in read_all(connection, 0, BATCH, upto):
        builder.complete([transparency_log.hash_of(appended) for appended in batch])
    if builder.size != upto or builder.root() != transparency_log.root_at(connection, upto):
        raise CredentialIntegrityError("transparency-log-of-other-events")


class Attesting:
    """Checks the codes of everything that is not yet attested, and attests it under the present key.

    It is an `Attest` of `keyledger.encryption.rotation`.
    """

    def __init__(
        self, pool: ConnectionPool[BoundedConnection], log: CredentialLog, clock: Clock, *, lost_keys: bool
    ) -> None:
        """lost_keys: an operator declared the keys that are not configured lost; their codes are not attested."""
        self._pool = pool
        self._log = log
        self._clock = clock
        self._lost_keys = lost_keys

    def __call__(self, meta: CommandMeta) -> None:
        """Attest. Raises StoreUnavailableError, and CredentialIntegrityError for a code that cannot be attested."""
        codes = self._log.codes
        if codes.primary_id is None:
            return
        with unavailable(), self._pool.connection() as connection:
            lost, upto = unknown_keys(connection, codes, codes.attested)
        if lost and not self._lost_keys:
            raise CredentialIntegrityError(f"event-code-under-a-key-that-is-not-configured: {', '.join(sorted(lost))}")
        _attest(self._pool, self._log, meta, self._clock, upto, lost=lost)

    def or_say_why(self, meta: CommandMeta) -> None:
        """Attest, or log why not: the former keys are then still needed, which their retirement says, too."""
        try:
            self(meta)
        except CredentialIntegrityError as error:
            _log.error("the log was not attested: %s", error.reason)


def accept(
    pool: ConnectionPool[BoundedConnection], log: CredentialLog, forged: Sequence[int], meta: CommandMeta, clock: Clock
) -> None:
    """Record that an operator accepts these forged events as they are. Attests no other event.

    Raises StoreUnavailableError.
    """
    _attest(pool, log, meta, clock, log.codes.attested, forged)


def require_codes(
    connection: Connection,
    codes: EventCodes,
    after: int,
    upto: int,
    restored: Callable[[LogRow], None] = lambda row: None,
) -> int:
    """Check the events after a position, and return the last position checked.

    restored: called with each acceptance of a restore. Raises CredentialIntegrityError that names the first forged one.
    """
    for row in every_row(connection, after, upto):
        require_code(row, codes)
        if row.stream == RESTORE_STREAM:
            restored(row)
        after = row.position
    return after


def forged_positions(pool: ConnectionPool[BoundedConnection], codes: EventCodes, most: int) -> list[int]:
    """Return the first positions of events that no holder of the keys wrote, at most `most` of them.

    Raises StoreUnavailableError.
    """
    with unavailable(), pool.connection() as connection:
        found = (row.position for row in every_row(connection, 0) if codes.check(row).is_forgery)
        return list(islice(found, most))


def unknown_keys(connection: Connection, codes: EventCodes, after: int) -> tuple[frozenset[str], int]:
    """Check the events after a position. Return the ids of keys that are needed but not at hand, and the last position.

    Raises CredentialIntegrityError that names the first forged one.
    """
    lost = set[str]()
    for row in every_row(connection, after):
        if codes.check(row) is CodeState.UNKNOWN_KEY and row.code_key_id is not None:
            lost.add(row.code_key_id)
        else:
            require_code(row, codes)
        after = row.position
    return frozenset(lost), after


def _attest(
    pool: ConnectionPool[BoundedConnection],
    log: CredentialLog,
    meta: CommandMeta,
    clock: Clock,
    upto: int,
    accepted: Iterable[int] = (),
    lost: Iterable[str] = (),
) -> None:
    """Append an attestation of the first events, all of them checked. It repeats what the ones before it say."""
    transparency_log.follower(pool).run()
    with unavailable(), pool.connection() as connection:
        root = transparency_log.root_at(connection, upto)
        before = believed(attestations(connection), log.codes)
    said = before.with_attested(max(upto, before.attested), before.accepted.union(accepted), before.lost.union(lost))
    append_decided(
        log,
        lambda: [attest_log(log.last(ATTESTATION_STREAM), upto, root, meta, clock(), said.accepted, said.lost)],
    )
    log.codes = said
