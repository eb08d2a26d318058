"""Backup and restore of one ledger, by PostgreSQL's own programs.

Promises: a dump holds the database as it was at one moment; it is read back and compared with the log of that moment
before it is reported as made. A restore replaces everything or nothing, in one transaction, and refuses any other file
before it changes anything. Passwords reach the programs through their environment alone; their output is not repeated,
since it may quote anything.
Survives: when either is killed at any point, nothing half done remains, and it can be run again.
"""

from keyledger.backup.dump import Contents, LogEnd, back_up, read_dump
from keyledger.backup.errors import BackupError
from keyledger.backup.replacing import replace_by

__all__ = [
    "BackupError",
    "Contents",
    "LogEnd",
    "back_up",
    "read_dump",
    "replace_by",
]
