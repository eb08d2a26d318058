"""Whether connections to the database are direct or go through a pooler, which shares sessions between clients."""

from collections.abc import Iterator

from domain.errors import ServiceError
from keyledger.assembly.checks.database_check import require_one_database
from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, fault, ok, warning
from keyledger.start_error import StartError
from projections.database.connections import unavailable

SUBJECT = "pooler"


def look(here: Circumstances) -> Iterator[Finding]:
    """Report whether connections are direct and, if not, whether DATABASE_ADMIN_URL bypasses the pooler."""
    with unavailable(), here.pool().connection() as connection:
        pooled = connection.pooled
    past = here.settings and here.settings.database_admin_url
    if here.dsn is not None and past:
        try:
            require_one_database(here.dsn, past.reveal())
        except (StartError, ServiceError) as refused:  # its text is ours
            yield fault(SUBJECT, str(refused), "keyledger config check")
            return
    if not pooled:
        yield ok(SUBJECT, "connections are direct")
    elif here.settings is not None and here.settings.database_admin_url is None:
        said = "connections go through a pooler, and no DATABASE_ADMIN_URL bypasses it for changes of the schema"
        yield warning(SUBJECT, said, "keyledger config check")
    else:
        yield ok(SUBJECT, "connections go through a pooler, and DATABASE_ADMIN_URL bypasses it")
