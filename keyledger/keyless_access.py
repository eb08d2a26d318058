"""The database for commands that need no encryption key: replay, above all after the last key is gone.

Promises: only DATABASE_URL and DATA_DIR are read; nothing is migrated and no cluster is made.
Refuses: a database without the schema of this program, and a DATA_DIR without a database.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from domain.replay import RebuildResult, Swap
from keyledger import embedded_postgres
from keyledger.direct_access import command_meta
from keyledger.event_store import CredentialLog
from keyledger.recorded_replay import recorded_replay
from keyledger.settings import load_database
from keyledger.start_checks import StartRefused
from projections.migration import is_current
from projections.postgres import connect, open_pool, unavailable
from projections.views import Progress


@contextmanager
def keyless_database(environ: Mapping[str, str], dotenv: Path | None) -> Iterator[str]:
    """Give the address of the database; runs the embedded server meanwhile where none is named.

    Raises SettingsFault, StartRefused, StoreUnavailable, EmbeddedPostgresError.
    """
    url, data_dir = load_database(environ, dotenv)
    if url is not None:
        yield _checked(url.reveal())
        return
    if embedded_postgres.status(data_dir) == "absent":
        raise StartRefused(f"there is no database in {data_dir}; set DATABASE_URL or DATA_DIR to the one you mean")
    with embedded_postgres.start(data_dir) as server:
        yield _checked(server.dsn())


Replay = Callable[[str, Progress, Swap, int | datetime | None], RebuildResult]


@contextmanager
def keyless_replay(environ: Mapping[str, str], dotenv: Path | None) -> Iterator[Replay]:
    """Give what replays a view, by its name, and records that it did. Raises as `keyless_database` does."""
    with keyless_database(environ, dotenv) as dsn, closing(open_pool(dsn)) as pool:
        log = CredentialLog(pool)

        def replay(name: str, progress: Progress, swap: Swap, until: int | datetime | None) -> RebuildResult:
            meta = command_meta()
            return recorded_replay(dsn, log, name, progress, swap=swap, until=until, meta=meta, clock=_now)

        yield replay


def _now() -> datetime:
    return datetime.now(UTC)


def _checked(dsn: str) -> str:
    with connect(dsn) as connection, unavailable():
        if not is_current(connection):
            raise StartRefused("the database has no schema of this version; start the service once, which brings it")
    return dsn
