"""Checks before a start: our own packages, and the key of every live credential.

Refuses to start when `domain`, `projections` or `api` come from another distribution (their names are generic, and
another package of the same name would win silently), and when a live credential is sealed under a key that is not
configured, unless the operator declares the key lost.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path

from psycopg_pool import ConnectionPool

import keyledger
from domain.events.event_code import SIGNING, EventCodes
from keyledger.encryption.keyring import Keyring
from keyledger.start_error import StartError
from projections.database.connections import BoundedConnection, unavailable

_PACKAGES = ("domain", "projections", "api", "scripts")
_UNPROVED = """
SELECT key_id, sum(deletions) AS deletions FROM (
    SELECT e.code_key_id AS key_id, e.notification_id AS position, 1 AS deletions
      FROM current_credentials AS c
      JOIN keyledger_events AS e ON e.originator_id = c.stream_id AND e.originator_version = c.version
     WHERE c.token IS NULL
     UNION ALL
    (SELECT code_key_id, notification_id, 0 FROM keyledger_events ORDER BY notification_id DESC LIMIT 1)) AS needed
 WHERE position > %(attested)s AND key_id <> ALL (%(known)s::text[])
 GROUP BY key_id ORDER BY key_id
"""
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


def require_keys(
    pool: ConnectionPool[BoundedConnection], keyring: Keyring | None, codes: EventCodes, *, allow_unreadable: bool
) -> None:
    """Raise StartError when live credentials, or deletions that let the global key serve, need keys that are missing.

    Raises StoreUnavailableError.
    """
    missing, unproved = missing_keys(pool, keyring), unproved_by_key(pool, codes)
    if allow_unreadable or not (missing or unproved):
        return
    listed = [f"{key_id} ({count} credentials)" for key_id, count in missing.items()]
    listed += [f"{key_id} ({count})" for key_id, count in unproved.items()]
    signing = all(key_id.startswith(SIGNING) for key_id in (*missing, *unproved))
    remedy = "Configure the former AUDIT_SIGNING_KEY" if signing else "Add them to ENCRYPTION_KEY_PREVIOUS"
    raise StartError(
        "live credentials are sealed, or events authenticated, under keys that are not configured:"
        f" {', '.join(listed)}. {remedy}. If a key is lost for good, set"
        " ALLOW_UNREADABLE_CREDENTIALS=true: what needs it then answers with an error until the credential is set, or"
        " deleted, again."
    )


def missing_keys(pool: ConnectionPool[BoundedConnection], keyring: Keyring | None) -> Mapping[str, int]:
    """Return the key ids that live credentials need and the ring lacks, with how many need each."""
    known = keyring.key_ids if keyring else frozenset()
    return {key_id: live for key_id, live in live_by_key(pool).items() if key_id not in known}


def unproved_by_key(pool: ConnectionPool[BoundedConnection], codes: EventCodes) -> Mapping[str, str]:
    """Return the ids of missing keys that codes of deletions, or of the log's last event, need, with what needs each.

    Keys that were retired or declared lost are not listed. Raises StoreUnavailableError.
    """
    if not codes.key_ids:
        return {}
    wanted = {"known": sorted(codes.key_ids), "attested": codes.attested}
    with unavailable(), pool.connection() as connection:
        rows = connection.execute(_UNPROVED, wanted).fetchall()
    return {row["key_id"]: f"{row['deletions']} deletions" if row["deletions"] else "the last events" for row in rows}


def live_by_key(pool: ConnectionPool[BoundedConnection]) -> Mapping[str, int]:
    """Return how many live credentials are sealed under each key. Raises StoreUnavailableError."""
    with unavailable(), pool.connection() as connection:
        rows = connection.execute(_LIVE).fetchall()
    return {row["key_id"]: row["live"] for row in rows}


def _home_of(package: str) -> Path | None:
    file = importlib.import_module(package).__file__
    return Path(file).resolve().parent.parent if file else None
