"""`backup`: the commands that save this ledger and bring it back. They are PostgreSQL's own; nothing is done here.

Promises: the address in them is that of the database that `serve` uses, without its password.
"""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from scripts.output import JsonOption, print_json, say

if TYPE_CHECKING:  # loaded only when the command runs
    from keyledger.settings import Settings


def backup(as_json: JsonOption = False) -> None:
    """Print the commands that back the database up and restore it. Runs neither of them."""
    from keyledger.settings import load

    settings = load(os.environ, Path(".env"))
    address = _address(settings)
    save = f"pg_dump --format=custom --file=backup.dump {address}"
    bring_back = f"pg_restore --clean --if-exists --single-transaction --dbname={address} backup.dump"
    if as_json:
        print_json({"backup": save, "restore": bring_back})
        return
    say("to back up, while the service runs:")
    typer.echo(save)
    say("to restore, while every service is stopped:")
    typer.echo(bring_back)
    if settings.database_url is not None:
        say("the password is not shown: give it in PGPASSWORD or a password file")
    say("keep ENCRYPTION_KEY apart from backups: together they are readable, without it they are not")


def _address(settings: "Settings") -> str:
    """Return the database's address as a word of the shell."""
    if settings.database_url is None:
        return '"$(keyledger database url)"'
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    parts = conninfo_to_dict(settings.database_url.reveal())
    return shlex.quote(make_conninfo("", **{name: value for name, value in parts.items() if name not in _SECRETS}))


_SECRETS = frozenset({"password", "sslpassword", "oauth_client_secret"})
