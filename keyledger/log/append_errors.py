"""Why the database rejected an append, told from the SQLSTATE with which `keyledger_append` raised.

The states are described in projections/database/functions/append.sql.
"""

from datetime import datetime

import psycopg

_TIME_BEHIND = "KL001"
_REASONS = {
    "KL002": "The clock of this node is more than 5 seconds off the database's, so it changes nothing: set the clock.",
    "KL003": "The log's events are authenticated, and this node has no key for that: configure ENCRYPTION_KEY or"
    " AUDIT_SIGNING_KEY.",
}


def reason_of(error: Exception) -> str | None:
    """Return why and what to do about it, for an error that a psycopg error caused; None where that is not known."""
    cause = error.__cause__
    return _REASONS.get(cause.sqlstate or "") if isinstance(cause, psycopg.Error) else None


def time_of_head(error: Exception) -> datetime | None:
    """Return the time of the log's last event if that was later than an event of the append, else None."""
    cause = error.__cause__
    if not isinstance(cause, psycopg.Error) or cause.sqlstate != _TIME_BEHIND:
        return None
    return datetime.fromisoformat(cause.diag.message_primary or "")
