"""The description of what the SQL files make, for `projections/database/attestation/shipped.json`.

After a change of those files: `python -m tests.support.shipped_description` writes it again.
"""

import tempfile
from pathlib import Path

from keyledger import embedded_postgres
from projections.database.attestation.catalogue import read_catalogue, written
from projections.database.connections import connect
from projections.database.migration import migrate
from tests.support.places import REPOSITORY

FILE = REPOSITORY / "projections/database/attestation/shipped.json"


def described(url: str) -> str:
    """Return the description of a database as text."""
    with connect(url) as connection, connection.transaction():
        found = read_catalogue(connection)
    assert found is not None
    return written(found.description)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, embedded_postgres.start(Path(folder)) as postgres:
        migrate(postgres.dsn())
        FILE.write_text(described(postgres.dsn()))
