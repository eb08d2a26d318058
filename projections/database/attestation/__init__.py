"""Attestation: whether the database still is what this program made of it.

`shipped.json` describes every table, column, constraint, index, trigger and function of the schema. It is made from the
SQL files by a PostgreSQL, and a test compares the two, so what is expected never comes from the database that is
examined. The functions below read the same description from the catalogue of a database and return what differs.

Promises: read-only, a few milliseconds, and no right but the one to connect. The result is the same in PostgreSQL 15 to
18, after a dump and a restore, and after a replay. An operator's own index or column on our tables is not a difference,
unless it can change or refuse what the program writes.
Limits: a superuser who edits PostgreSQL's own catalogue or programs can make any answer look right.
"""

from projections.database.attestation.attest import attest, attest_lock_rows, attest_settings
from projections.database.attestation.catalogue import shipped

__all__ = ["attest", "attest_lock_rows", "attest_settings", "shipped"]
