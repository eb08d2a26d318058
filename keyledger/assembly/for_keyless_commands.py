"""The database for commands that need no encryption key: replay, above all after the last key is gone.

Promises: only DATABASE_URL, DATABASE_ADMIN_URL and DATA_DIR are read; nothing is migrated and no cluster is made.
Refuses: a database without the schema of this program, and a DATA_DIR without a database.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from domain.event import utc_now
from domain.operations.replay import RebuildResult, Swap
from keyledger import embedded_postgres
from keyledger.assembly.database_check import require_database, require_one_database
from keyledger.assembly.open_ledger import command_meta
from keyledger.log.event_store import CredentialLog
from keyledger.replay.recorded_replay import recorded_replay
from keyledger.settings.settings import DatabaseSettings, load_database
from keyledger.start_error import StartError
from projections.database.connections import open_pool
from projections.replay.views import Progress


@contextmanager
def keyless_database(environ: Mapping[str, str], dotenv: Path | None) -> Iterator[str]:
    """Give the address of the database; runs the embedded server meanwhile where none is named.

    Raises SettingsError, StartError, StoreUnavailableError, EmbeddedPostgresError.
    """
    with named_database(load_database(environ, dotenv)) as (dsn, setting):
        if not require_database(dsn, setting, appends=False).has_present_schema:
            raise StartError("the database has no schema of this version; start the service once, which brings it")
        yield dsn


@contextmanager
def named_database(settings: DatabaseSettings) -> Iterator[tuple[str, str]]:
    """Give the address of a database that is there, as it is, and the setting that named it.

    Raises StartError, DatabaseUnreachableError, StoreUnavailableError, EmbeddedPostgresError.
    """
    if settings.url is not None:
        if settings.serving_url is not None:
            require_one_database(settings.serving_url.reveal(), settings.url.reveal())
        yield settings.url.reveal(), settings.setting
        return
    if embedded_postgres.status(settings.data_dir) == "absent":
        raise StartError(
            f"there is no database in {settings.data_dir}; set DATABASE_URL or DATA_DIR to the one you mean"
        )
    with embedded_postgres.start(settings.data_dir) as server:
        yield server.dsn(), "DATA_DIR"


Replay = Callable[[str, Progress, Swap, int | datetime | None], RebuildResult]


@contextmanager
def keyless_replay(environ: Mapping[str, str], dotenv: Path | None) -> Iterator[Replay]:
    """Give what replays a view, by its name, and records that it did. Raises as `keyless_database` does."""
    with keyless_database(environ, dotenv) as dsn, closing(open_pool(dsn)) as pool:
        log = CredentialLog(pool)

        def replay(name: str, progress: Progress, swap: Swap, until: int | datetime | None) -> RebuildResult:
            meta = command_meta()
            return recorded_replay(dsn, log, name, progress, swap=swap, until=until, meta=meta, clock=utc_now)

        yield replay
