"""A PostgreSQL server of our own, for a laptop, a test run, or one machine without a database team.

Promises: the cluster lives in `DATA_DIR/postgres` and survives a crash, a `kill -9` of us or of the server, and a
reused process id; commits are on disk before they are acknowledged; any number of processes share one server: the first
starts it and the last to leave stops it, unless `database start` said to keep it. While a service uses it, it is
started again when it ends, unless `database stop` ended it (`supervision`). It listens on a Unix socket in a
directory only its owner can enter, never on a network. Bind values never reach its log. Started as root, the server
runs as an unprivileged user.

Refuses, always with a `StoreUnavailableError` that names the way out: Windows, systems the wheel has no build for, a
cluster of another major version, a cluster it may not enter. It never signals a process that it has not recognised as
this cluster's server, and never changes the mode of a directory that it did not create.

`DATABASE_URL` always wins over this package; nothing else in the program knows which of the two is in use.
"""

from keyledger.embedded_postgres.server import (
    EmbeddedPostgres,
    address,
    attach,
    join,
    leads_to_server,
    start,
    status,
    stop,
)
from keyledger.embedded_postgres.supervision import Supervision

__all__ = [
    "EmbeddedPostgres",
    "Supervision",
    "address",
    "attach",
    "join",
    "leads_to_server",
    "start",
    "status",
    "stop",
]
