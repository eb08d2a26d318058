"""Reads the address of a database from the settings.

Promises: a returned address is one that libpq can read, and no unescaped character has split it in the wrong place.
Only its host, port, database and user are shown.
Refuses: names of drivers, and parameters of other clients that libpq does not know. No error text repeats a password.
"""

import re
from collections.abc import Mapping, Sequence

from domain.credentials.secret import Secret
from keyledger.settings.sources import Sources, hidden

_PARAMETER = re.compile(r"[A-Za-z][A-Za-z_]{1,40}")
_SHOWN = ("host", "hostaddr", "port", "dbname", "user", "sslmode", "target_session_attrs")


def read_database_url(sources: Sources, name: str = "DATABASE_URL") -> Secret | None:
    """Return the address of a database, or None if it is not set or invalid. name: of the setting."""
    url = sources.secret(name, shown=hidden)
    if url is None:
        return None
    import psycopg  # slow to load, and not needed for the embedded server
    from psycopg.conninfo import conninfo_to_dict

    if "+" in url.reveal().partition("://")[0]:
        sources.error(name, "names a driver; begin it with postgresql:// alone")
        return None
    try:
        parts = {part: str(value) for part, value in conninfo_to_dict(url.reveal()).items()}
    except psycopg.Error:
        sources.error(name, _error_of_url(url.reveal()))
        return None
    if _is_torn(parts):
        sources.error(name, "has an impossible part; write special characters of the password as %40, %2F, ...")
        return None
    sources.show_as(name, " ".join(f"{part}={parts[part]}" for part in _SHOWN if part in parts))
    return url


def _error_of_url(url: str) -> str:
    """Return what is wrong with a URL that libpq cannot read; most often it has parameters of other clients.

    A name is repeated only if it is plain and cannot be the rest of a password that contains a `?`.
    """
    from psycopg import pq

    _, asked, query = url.partition("?")
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    names = [part.partition("=")[0] for part in query.split("&")] if asked and "@" not in query else []
    foreign = [one for one in names if _PARAMETER.fullmatch(one) and one not in known and one != "ssl"]
    if not foreign:
        return "is not a PostgreSQL URL; write postgresql://user@host:5432/database, with :password after the user"
    pooler = "; a pooler is noticed without it" if "pgbouncer" in foreign else ""
    return (
        f"has {_listed(foreign)} of another client, which PostgreSQL's own library does not know; leave it out{pooler}"
    )


def _listed(names: Sequence[str]) -> str:
    return f"the parameter{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _is_torn(parts: Mapping[str, str]) -> bool:
    """Say whether an unescaped character ended the password early, so that the rest of it is in another part."""
    ports = parts.get("port", "").split(",")
    named = (*parts.get("host", "").split(","), parts.get("dbname", ""))
    return any(port and not port.isdigit() for port in ports) or any("@" in name[1:] for name in named)
