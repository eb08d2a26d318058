"""Verifies a whole store: that log, tree, projections and the checkpoint kept outside agree.

In one snapshot of the database and one pass over the log, in order:
    log        positions have no gap, every event is readable, the versions and changes of each stream are possible
    codes      every event was written by a holder of the ledger's keys, if keys are given, or is attested by one
    tree       the hash of every event is the stored leaf; every upper tile follows from those below it
    trail      every entry of the audit trail matches its event
    people     the keys of sealed members exist, unless the log says that they were destroyed
    access     every access key's row matches its last event, and there are no other rows
    tenants    every tenant's row matches its last event, and there are no other rows
    current    every credential's row matches its last event, and there are no other rows
    bindings   every live credential's token is bound to its place, if an encryption key is given
    checkpoint the last one in DATA_DIR is of this ledger and matches the first entries of its log
    anchor     the anchors in DATA_DIR and ANCHOR_DIR are of this ledger and match its log
    times      no event has an earlier time than the event before it
    store      tables, functions, triggers and settings of the database are those that this program relies on
Promises: read-only. Memory is bounded by the number of streams. The first inconsistency is named by its position, if it
has one. Events that a projection has not caught up with are not an inconsistency.
Does not detect: changes that leave no trace elsewhere, such as an event removed with every trace of it before the first
checkpoint.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from domain.credentials.secret import Sealer
from domain.errors import CredentialIntegrityError
from domain.events.event_code import CodeKey
from domain.proofs.merkle_tree import leaf_hash
from keyledger.evidence.errors import EvidenceError
from keyledger.evidence.history import History
from keyledger.quick_records import decode_record
from keyledger.store_attestation import sentence_of, stands_in_the_way
from keyledger.store_verification.findings import Inconsistency, Progress, StoreVerdict
from keyledger.store_verification.recorded_outside import CHECKPOINT, RecordedOutside, SizeAndRoot
from keyledger.store_verification.stored_codes import StoredCodes
from keyledger.store_verification.stored_credentials import compare_credentials
from keyledger.store_verification.stored_inline_rows import StoredInlineRows
from keyledger.store_verification.stored_people import StoredPeople
from keyledger.store_verification.stored_times import StoredTimes
from keyledger.store_verification.stored_trail import StoredTrail
from keyledger.store_verification.stored_tree import StoredTree
from projections.access_keys import ACCESS_KEYS
from projections.audit import audit_trail
from projections.catch_up import Appended, Columns, read_row
from projections.database.attestation import shipped
from projections.database.connection_check import check_connection
from projections.database.connections import SNAPSHOT, BoundedConnection, Connection, connect, unavailable
from projections.proofs import transparency_log
from projections.tenants import TENANTS

BATCH = 2_000
_LOG = """
SELECT notification_id, originator_id, originator_version, topic, state, code_key_id, code
  FROM keyledger_events ORDER BY 1
"""
_ALONG_THE_LOG = "log, tree and trail"


def catch_up(pool: ConnectionPool[BoundedConnection]) -> None:
    """Bring the audit trail and the tree to the head of the log, so that all of it is verified.

    A projection that cannot read an event stops before it; the verification reports why. Raises StoreUnavailableError.
    """
    for follower in (audit_trail.follower(pool), transparency_log.follower(pool)):
        with suppress(CredentialIntegrityError):
            follower.run()


def verify_store(
    dsn: str,
    sealer: Sealer | None,
    data_dir: Path,
    progress: Progress,
    keys: Sequence[CodeKey] = (),
    anchor_dir: Path | None = None,
) -> StoreVerdict:
    """Verify the store behind `dsn`. sealer: None without an encryption key. keys: check the codes of events.

    Raises StoreUnavailableError.
    """
    with connect(dsn) as connection, unavailable(), connection.transaction():
        connection.execute(SNAPSHOT)
        verdict = verify_snapshot(connection, sealer, data_dir, progress, keys, anchor_dir)
    findings = check_connection(dsn).findings
    verdict.attested = len(shipped())
    verdict.unfit = tuple(sentence_of(one) for one in findings if stands_in_the_way(one))
    if verdict.unfit and verdict.error is None:
        verdict.error = Inconsistency("store", "; ".join(verdict.unfit))
    return verdict


def verify_snapshot(
    connection: Connection,
    sealer: Sealer | None,
    data_dir: Path,
    progress: Progress = lambda step, done, total: None,
    keys: Sequence[CodeKey] = (),
    anchor_dir: Path | None = None,
) -> StoreVerdict:
    """Verify the snapshot of one transaction, which may contain changes that will be rolled back.

    connection: where services append meanwhile, its transaction must not have begun to read.
    """
    verdict = StoreVerdict()
    outside = RecordedOutside(data_dir, anchor_dir)
    try:
        _log_tree_and_trail(connection, verdict, outside, progress, keys)
        verdict.anchors = outside.require_anchored(connection)
        compare_credentials(connection, sealer, verdict, progress)
        _require_order_of_time(verdict)
    except EvidenceError as found:
        verdict.error = Inconsistency(found.part, found.meaning, found.position, found.tenant_id, found.provider)
    return verdict


def _require_order_of_time(verdict: StoreVerdict) -> None:
    """Raise EvidenceError if the time of the log goes back anywhere."""
    if verdict.listed_steps:
        first = verdict.listed_steps[0]
        meaning = f"its time is {first.by.total_seconds():.6f} s before that of the event before it"
        more = f", the first of {verdict.steps_back:,} such steps" if verdict.steps_back > 1 else ""
        raise EvidenceError(f"{meaning}{more}", first.position, part="times")


def _log_tree_and_trail(
    connection: Connection, verdict: StoreVerdict, outside: RecordedOutside, progress: Progress, keys: Sequence[CodeKey]
) -> None:
    counted = connection.execute("SELECT count(*) AS n FROM keyledger_events").fetchone()
    total = counted["n"] if counted else 0
    checkpoint, codes = outside.checkpoint(connection), StoredCodes(connection, keys)
    wanted = [*codes.sizes, checkpoint[0]] if checkpoint else codes.sizes
    history, tree = History(whole=True, decode=decode_record), StoredTree(connection, wanted)
    with closing(StoredTrail(connection)) as trail, closing(_rows(connection)) as batches:
        people, times = StoredPeople(connection), StoredTimes(codes.accepted)
        inline: list[StoredInlineRows[Any]] = [
            StoredInlineRows(connection, ACCESS_KEYS, "access"),
            StoredInlineRows(connection, TENANTS, "tenants"),
        ]
        checks = (history, tree, trail, codes, people, times, inline)
        _go_through(batches, checks, verdict, lambda done: progress(_ALONG_THE_LOG, done, total))
    verdict.streams, verdict.codes_unchecked = history.streams, codes.unchecked
    verdict.steps_back, verdict.listed_steps = times.count, tuple(times.steps)
    codes.compare_roots(tree)
    _compare_checkpoint(tree, checkpoint, verdict)
    verdict.behind = {
        audit_trail.TABLE: verdict.events - trail.position,
        transparency_log.TABLE: verdict.events - tree.position,
    }


def _go_through(
    batches: Iterable[Sequence[Columns]],
    checks: tuple[
        History, StoredTree, StoredTrail, StoredCodes, StoredPeople, StoredTimes, list[StoredInlineRows[Any]]
    ],
    verdict: StoreVerdict,
    told: Callable[[int], None],
) -> None:
    history, tree, trail, codes, people, times, inline = checks
    for batch in batches:
        hashes: list[bytes] = []
        for row in batch:
            appended = _readable(row, verdict.events + 1)
            leaf = transparency_log.leaf_by(appended)
            hashes.append(leaf_hash(leaf))
            # In this order, because a changed event explains more than a version that does not fit.
            tree.compare_leaf(appended, hashes[-1])
            codes.check(appended.row)
            history.tell_leaf(appended.position, leaf)
            trail.compare(appended)
            people.check(appended)
            times.check(appended)
            for rows in inline:
                rows.check(appended)
            verdict.events += 1
        tree.grow(hashes)
        told(verdict.events)
    tree.finish(verdict.events)
    trail.finish()
    people.finish()
    for rows in inline:
        rows.finish()


def _rows(connection: Connection) -> Generator[Sequence[Columns], None, None]:
    """Yield the stored rows in the order of positions, unchecked."""
    with connection.cursor("verified_log", row_factory=tuple_row) as cursor:
        cursor.execute(_LOG)
        while rows := cursor.fetchmany(BATCH):
            yield rows


def _readable(row: Columns, expected: int) -> Appended:
    position = row[0]
    if position != expected:
        what = "it is missing: events were removed" if position > expected else "the position occurs twice"
        raise EvidenceError(what, expected)
    try:
        return read_row(row)
    except CredentialIntegrityError as error:
        raise EvidenceError(f"the event cannot be read: {error.reason}", position) from None


def _compare_checkpoint(tree: StoredTree, checkpoint: SizeAndRoot | None, verdict: StoreVerdict) -> None:
    if checkpoint is None:
        return
    size, root = checkpoint
    verdict.checkpoint_size = size
    if size > verdict.events:
        meaning = f"the last checkpoint is over {size} events, but the log ends earlier: events were removed"
        raise EvidenceError(meaning, verdict.events + 1, part=CHECKPOINT)
    if tree.root_at(size) != root:
        meaning = f"the first {size} events are not the ones the last checkpoint was signed over"
        raise EvidenceError(meaning, part=CHECKPOINT)
