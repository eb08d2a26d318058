"""Backup and restore of one ledger, by PostgreSQL's own programs.

Promises: a dump holds what the database held at one moment, and is read back and compared with the log of that moment
before it counts. A restore replaces everything or nothing, in one transaction, and refuses what is no such dump before
it touches anything. Passwords reach the programs through their environment alone; what they say is not repeated, since
it may quote anything.
Survives: killed at any point, of either nothing half done is left, and it can be run again.
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
