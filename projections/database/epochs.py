"""The epoch of a server: which primary of a cluster it is.

A promotion begins a new timeline of the WAL, so two servers that both accept writes, such as an old primary that was
not stopped and its successor, differ in it. A server that does not tell its timeline has the epoch "".
"""

import psycopg

EPOCH = "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
"""The expression that tells it: eight hexadecimal digits, which only grow."""

NO_EPOCH = (
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.ObjectNotInPrerequisiteState,
    psycopg.errors.UndefinedFunction,
)
"""What servers answer that do not tell: some that are only compatible with PostgreSQL, and standbys."""


def any_server(epoch: str) -> bool:
    """Admit every server: for processes that hold no lease."""
    return True
