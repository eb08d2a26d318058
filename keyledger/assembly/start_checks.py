"""Checks before a start: our own packages, a log that only grew, the key of every live credential.

Refuses to start when `domain`, `projections` or `api` come from another distribution (their names are generic, and
another package of the same name would win silently), when the log contradicts what was recorded of it in DATA_DIR, and
when a live credential is sealed under a key that is not configured, unless the operator declares the key lost.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path

from psycopg_pool import ConnectionPool

import keyledger
from keyledger.encryption.keyring import Keyring
from keyledger.log.anchor import AnchorFile, Contradiction, look
from keyledger.log.durable_file import UnreadableFileError
from keyledger.start_error import StartError
from projections.database.connections import BoundedConnection, unavailable

_PACKAGES = ("domain", "projections", "api", "scripts")
_LIVE = "SELECT key_id, count(*) AS live FROM current_credentials WHERE token IS NOT NULL GROUP BY key_id ORDER BY 1"


def require_own_packages() -> None:
    """Raise StartError unless our packages load from the folder of this one."""
    home = Path(keyledger.__file__).resolve().parent.parent
    foreign = [name for name in _PACKAGES if _home_of(name) != home]
    if foreign:
        raise StartError(
            f"the packages {', '.join(foreign)} come from another distribution; install KeyLedger in an environment"
            " of its own"
        )


def require_same_log(pool: ConnectionPool[BoundedConnection], file: AnchorFile) -> None:
    """Raise StartError when the log lost events or was rewritten. Raises StoreUnavailableError."""
    found = contradiction_of(pool, file)
    if found is not None:
        raise StartError(
            f"{found.detail}. Later events are lost: restore a newer backup, or accept the log as it is with:"
            " keyledger restore accept"
        )


def contradiction_of(pool: ConnectionPool[BoundedConnection], file: AnchorFile) -> Contradiction | None:
    """Return how the log contradicts its anchor, or None. Raises StartError where the anchor is unreadable."""
    try:
        _, found = look(pool, file.read())
    except UnreadableFileError:
        raise StartError(
            f"{file.path} records the last known state of the log and cannot be read. Restore the file or make it"
            " readable; if you know what happened to it, delete it: the next start writes a new one"
        ) from None
    return found


def require_keys(pool: ConnectionPool[BoundedConnection], keyring: Keyring | None, *, allow_unreadable: bool) -> None:
    """Raise StartError when live credentials need keys that are not in the ring. Raises StoreUnavailableError."""
    missing = missing_keys(pool, keyring)
    if missing and not allow_unreadable:
        listed = ", ".join(f"{key_id} ({count} credentials)" for key_id, count in missing.items())
        raise StartError(
            f"live credentials are sealed under keys that are not configured: {listed}. Add them to"
            " ENCRYPTION_KEY_PREVIOUS. If a key is lost for good, set ALLOW_UNREADABLE_CREDENTIALS=true: its"
            " credentials then answer with an error until they are set again."
        )


def missing_keys(pool: ConnectionPool[BoundedConnection], keyring: Keyring | None) -> Mapping[str, int]:
    """Return the key ids that live credentials need and the ring lacks, with how many need each."""
    known = keyring.key_ids if keyring else frozenset()
    return {key_id: live for key_id, live in live_by_key(pool).items() if key_id not in known}


def live_by_key(pool: ConnectionPool[BoundedConnection]) -> Mapping[str, int]:
    """Return how many live credentials are sealed under each key. Raises StoreUnavailableError."""
    with unavailable(), pool.connection() as connection:
        rows = connection.execute(_LIVE).fetchall()
    return {row["key_id"]: row["live"] for row in rows}


def _home_of(package: str) -> Path | None:
    file = importlib.import_module(package).__file__
    return Path(file).resolve().parent.parent if file else None
