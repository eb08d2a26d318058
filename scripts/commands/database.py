"""`database url|start|stop`: the embedded PostgreSQL in DATA_DIR.

Promises: a server started here runs until it is stopped here. The server that DATABASE_URL names is not touched.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from keyledger.settings.start_environment import OF_THIS_PROCESS
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, print_json, say

if TYPE_CHECKING:  # loaded only when a command runs: it imports psycopg
    from keyledger.embedded_postgres import EmbeddedPostgres


def url(as_json: JsonOption = False) -> None:
    """Print the URL of the running server, for psql, pg_dump and others."""
    from keyledger.embedded_postgres import attach

    data_dir = _data_dir()
    server = attach(data_dir)
    if server is None:
        raise CommandError(
            Exit.UNREACHABLE, f"no server is running in {data_dir}; start it with: keyledger database start"
        )
    with server:
        _print_url(server, as_json=as_json)


def start(as_json: JsonOption = False) -> None:
    """Start the server and keep it running until `database stop`."""
    from keyledger.embedded_postgres import start as start_server

    with start_server(_data_dir()) as server:
        server.keep()
        say(f"{'started' if server.started_here else 'already running'}; stop it with: keyledger database stop")
        _print_url(server, as_json=as_json)


def stop(as_json: JsonOption = False) -> None:
    """Stop the server, even if it is in use. No running service starts it again."""
    from keyledger.embedded_postgres import stop as stop_server

    stopped = stop_server(_data_dir())
    say("stopped" if stopped else "no server was running")
    if as_json:
        print_json({"stopped": stopped})


def _print_url(server: "EmbeddedPostgres", *, as_json: bool) -> None:
    dsn = server.dsn()
    if as_json:
        print_json({"url": dsn})
    else:
        typer.echo(dsn)


def _data_dir() -> Path:
    from keyledger.settings.settings import load_data_dir
    from keyledger.settings.sources import Sources

    sources = Sources(OF_THIS_PROCESS, Path(".env"))
    if sources.secret("DATABASE_URL", shown=str) is not None:
        say("DATABASE_URL is set: the service uses that server, not the embedded one")
    return load_data_dir(OF_THIS_PROCESS, Path(".env"))
