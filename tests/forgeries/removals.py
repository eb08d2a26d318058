"""Forgeries by removal: events, whole streams, an older state of everything, and another name for the ledger."""

from tests.forgeries.kinds import BOTH, THE_LOG, Where, kind
from tests.support.forger import Forger, members_of, place_of, record_stream

ANOTHER_LEDGER = ("ledger",)


@kind("an event taken out, leaving a gap")
def _(f: Forger) -> Where:
    position = f.chance.randint(1, f.head() - 1)
    f.sql("DELETE FROM keyledger_events WHERE notification_id = %s", position)
    return Where(position)


@kind("an event taken out, and the gap closed")
def _(f: Forger) -> Where:
    position = f.chance.randint(1, f.head() - 1)
    f.sql("DELETE FROM keyledger_events WHERE notification_id = %s", position)
    f.close_gap(position)
    return Where(position)


@kind("an event taken out, the gap closed, trail and tree computed again")
def _(f: Forger) -> Where:
    position = f.chance.randint(1, f.head() - 1)
    f.sql("DELETE FROM keyledger_events WHERE notification_id = %s", position)
    f.close_gap(position)
    f.compute_again()
    return Where(position, words=THE_LOG)


@kind("the last event taken out", uses=True, unaided=True)
def _(f: Forger) -> Where:
    head = f.head()
    f.sql("DELETE FROM keyledger_events WHERE notification_id = %s", head)
    return Where(head, words=THE_LOG)


def _forget_credential(f: Forger) -> tuple[int, dict]:
    row = f.live()
    gone = f.sql(
        "DELETE FROM keyledger_events WHERE originator_id = %s RETURNING notification_id AS n", row["stream_id"]
    )
    f.sql("DELETE FROM current_credentials WHERE tenant_id = %s AND provider = %s", *place_of(row))
    for position in sorted((one["n"] for one in gone), reverse=True):
        f.close_gap(position)
    return min(one["n"] for one in gone), row


@kind("a whole credential, taken out of log and projection", uses=True, unaided=True)
def _(f: Forger) -> Where:
    first, row = _forget_credential(f)
    return Where(first, place_of(row), THE_LOG)


@kind("a whole credential, taken out of everything", uses=True, unaided=True)
def _(f: Forger) -> Where:
    first, row = _forget_credential(f)
    f.compute_again()
    return Where(first, place_of(row), THE_LOG)


def _roll_back(f: Forger) -> int:
    """Bring log and projections to an older state, in which a credential that was changed since has its former key."""
    changed = f.sql("SELECT notification_id AS n FROM keyledger_events WHERE topic = 'CredentialSet' ORDER BY n DESC")
    position = int(changed[0]["n"])
    f.sql("DELETE FROM keyledger_events WHERE notification_id >= %s", position)
    f.sql("DELETE FROM current_credentials")
    for row in f.sql(
        "SELECT DISTINCT ON (originator_id) * FROM keyledger_events WHERE topic LIKE 'Credential%%'"
        " AND topic IN ('CredentialSet', 'CredentialReencrypted', 'CredentialDeleted')"
        " ORDER BY originator_id, originator_version DESC"
    ):
        members = members_of(row)
        names = [name for name in f.columns("current_credentials") if name in members]
        shown = {name: members[name] for name in names}
        f.insert(
            "current_credentials",
            {**shown, "version": row["originator_version"], "stream_id": row["originator_id"]},
        )
    f.compute_again()
    return position


@kind("an older state of log and projections", uses=True, unaided=True)
def _(f: Forger) -> Where:
    return Where(_roll_back(f), words=THE_LOG)


@kind("an older state of log and projections, as another ledger", uses=True, unaided=True)
def _(f: Forger) -> Where:
    position = _roll_back(f)
    f.sql("UPDATE keyledger_ledger SET ledger_id = gen_random_uuid()")
    return Where(position, words=(*THE_LOG, *ANOTHER_LEDGER))


@kind("an older state that was written to since", uses=True, unaided=True)
def _(f: Forger) -> Where:
    head, position = f.head(), _roll_back(f)
    for _ in range(head - position + 2):
        members = f.example("AuditRead")
        f.add("AuditRead", members, record_stream(members["command_id"]), 1)
    return Where(position, words=THE_LOG)


@kind("another id for the ledger", BOTH, refusable=True, unaided=True)
def _(f: Forger) -> Where:
    f.sql("UPDATE keyledger_ledger SET ledger_id = gen_random_uuid()")
    return Where(words=ANOTHER_LEDGER)


@kind("another id for the ledger, and every actor rewritten", uses=True, unaided=True)
def _(f: Forger) -> Where:
    for row in f.sql("SELECT * FROM keyledger_events"):
        f.change(row, actor="mallory")
    f.sql("UPDATE keyledger_ledger SET ledger_id = gen_random_uuid()")
    f.compute_again()
    return Where(1, words=(*THE_LOG, *ANOTHER_LEDGER))


@kind("another id for the ledger, taken from another ledger", unaided=True)
def _(f: Forger) -> Where:
    other = f.other.execute("SELECT ledger_id FROM keyledger_ledger").fetchone()
    assert other is not None
    f.sql("UPDATE keyledger_ledger SET ledger_id = %s", other["ledger_id"])
    return Where(words=ANOTHER_LEDGER)


@kind("the id of the ledger taken out")
def _(f: Forger) -> Where:
    f.sql("DELETE FROM keyledger_ledger")
    return Where(words=ANOTHER_LEDGER)


@kind("the log emptied, with everything that was computed from it", uses=True, unaided=True)
def _(f: Forger) -> Where:
    f.sql("DELETE FROM keyledger_events")
    f.sql("TRUNCATE current_credentials")
    f.compute_again()
    return Where(1, words=THE_LOG)
