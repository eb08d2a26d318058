"""The deployment that the checks examine: its settings as far as they can be read, its database as far as it answers.

Promises: nothing is started, created or changed. Something missing is reported once, by the check it belongs to; other
checks that need it report that they were skipped.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from psycopg_pool import ConnectionPool

from domain.errors import ServiceError
from domain.events.event import Clock, utc_now
from keyledger.assembly.configuration import keyring_of
from keyledger.doctor.finding import CheckSkippedError
from keyledger.encryption.keyring import Keyring
from keyledger.settings.errors import SettingsError
from keyledger.settings.settings import Settings, load, load_data_dir, load_database
from projections.database.connections import BoundedConnection, connect, unavailable
from projections.database.migration import PRESENT, edition_of
from projections.database.pools import open_pool


@dataclass(slots=True)
class Circumstances:
    """The deployment in which the service would run.

    settings: None where they have errors, which are in `faults`. dsn: None where DATABASE_URL is invalid or
    the embedded server does not run. host, port: where the service is to listen. clock: of this machine.
    """

    environ: Mapping[str, str]
    dotenv: Path
    host: str
    port: int
    clock: Clock = utc_now
    settings: Settings | None = None
    faults: tuple[str, ...] = ()
    data_dir: Path = Path(".data")
    dsn: str | None = None
    embedded: bool = True
    _pool: ConnectionPool[BoundedConnection] | None = field(default=None, repr=False)
    _refused: CheckSkippedError | None = field(default=None, repr=False)

    def known_settings(self) -> Settings:
        """Return the settings. Raises CheckSkippedError."""
        if self.settings is None:
            raise CheckSkippedError("the settings have errors", "keyledger config check")
        return self.settings

    def keyring(self) -> Keyring:
        """Return the encryption keys that are configured. Raises CheckSkippedError."""
        ring = keyring_of(self.known_settings())
        if ring is None:
            raise CheckSkippedError("tenant credentials are off, so no encryption key is used")
        return ring

    def pool(self) -> ConnectionPool[BoundedConnection]:
        """Return connections to a database that answers and has the present schema. Raises CheckSkippedError."""
        if self._refused is not None:  # asking again would take as long again
            raise self._refused
        if self._pool is None:
            try:
                self._pool = _open(self.dsn)
            except CheckSkippedError as reason:
                self._refused = reason
                raise
        return self._pool

    def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            self._pool.close()


@contextmanager
def circumstances(environ: Mapping[str, str], dotenv: Path, host: str, port: int) -> Iterator[Circumstances]:
    """Yield the deployment as far as it can be read. Raises nothing for what is broken."""
    found = Circumstances(environ, dotenv, host, port)
    try:
        found.settings = load(environ, dotenv)
    except SettingsError as refused:
        found.faults = refused.lines
    found.data_dir = load_data_dir(environ, dotenv)
    try:
        found.dsn, found.embedded = _database(found.settings, environ, dotenv)
        yield found
    finally:
        found.close()


def _database(settings: Settings | None, environ: Mapping[str, str], dotenv: Path) -> tuple[str | None, bool]:
    """Return where requests go, and whether that is the embedded server."""
    from keyledger.embedded_postgres import address  # not loaded where a server is given

    try:
        database = load_database(environ, dotenv)
        url = settings.database_url if settings is not None else database.admin_url or database.url
    except SettingsError:
        return None, False
    if url is not None:
        return url.reveal(), False
    try:
        return address(load_data_dir(environ, dotenv)), True
    except Exception:  # noqa: BLE001  whatever is wrong with the folder, the server cannot be examined
        return None, True


def _open(dsn: str | None) -> ConnectionPool[BoundedConnection]:
    if dsn is None:
        raise CheckSkippedError("there is no database to check")
    try:
        with connect(dsn) as connection, unavailable():
            edition = edition_of(connection)
    except ServiceError:
        raise CheckSkippedError("the database does not answer") from None
    if edition < PRESENT:
        raise CheckSkippedError(f"the schema is at {edition}; a start brings it to {PRESENT}", "keyledger serve")
    return open_pool(dsn)
