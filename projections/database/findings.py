"""Findings about a database: each is one assumption of the program, with what is wrong if it does not hold."""

from dataclasses import dataclass
from enum import StrEnum

from projections.database.connection_failure import Failure


class Flaw(StrEnum):
    """A defect of a database that can be reached."""

    OLD_SERVER = "old-server"
    NEWER_SCHEMA = "newer-schema"
    OLDER_SCHEMA = "older-schema"
    NEWER_EVENTS = "newer-events"
    RIGHTS = "rights"
    TIME_LIMITS = "time-limits"
    LOCKS = "locks"
    UNSAFE_SERVER = "unsafe-server"
    RISKY_SERVER = "risky-server"
    ROLE = "role"
    TABLES = "tables"
    UNLOGGED = "unlogged"
    ROW_SECURITY = "row-security"
    COLUMNS = "columns"
    CONSTRAINTS = "constraints"
    INDEXES = "indexes"
    SLOW_INDEXES = "slow-indexes"
    TRIGGERS = "triggers"
    ADDED_CODE = "added-code"
    FUNCTIONS = "functions"
    SHADOWED = "shadowed"
    LOCK_ROWS = "lock-rows"
    EVENT_TRIGGERS = "event-triggers"
    OWNERS = "owners"


@dataclass(frozen=True, slots=True)
class Finding:
    """One assumption. flaw: None if it holds. names: the tables, functions, rights or settings concerned.

    Names are those of this program and of PostgreSQL, never those that others gave to what they added.
    """

    assumption: str
    flaw: Failure | Flaw | None = None
    names: tuple[str, ...] = ()
