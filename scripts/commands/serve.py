"""`serve`: runs the service, with the embedded PostgreSQL unless DATABASE_URL is set.

Promises: all errors in the settings are listed before anything is opened; the last service to stop also stops the
embedded server; SIGTERM shuts down gracefully; no worker outlives this process.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyledger.settings.start_environment import OF_THIS_PROCESS
from scripts.terminal.output import say

if TYPE_CHECKING:  # loaded only when the command runs
    import socket

    from keyledger.settings.settings import Settings


SOON = timedelta(days=90)
"""At start, warn of models that are retired within this time; `config check` shows all."""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")] = 8000,
    workers: Annotated[
        str, typer.Option(metavar="auto|N", help="Number of worker processes; auto: one for each core.")
    ] = "auto",
) -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    from keyledger.serving.fair_process import be_fair
    from keyledger.serving.http_server import listen
    from keyledger.serving.signals import hangups_held, orderly_end
    from keyledger.settings.bounds import allow_descriptors
    from keyledger.settings.file_modes import exposure_warnings
    from keyledger.settings.settings import load
    from keyledger.startup_code import foreign_modules

    at_most, chosen = _chosen(workers)
    be_fair()
    allow_descriptors()
    settings = load(OF_THIS_PROCESS, Path(".env"))
    for warning in (*settings.warnings, *_notes(settings), *exposure_warnings(OF_THIS_PROCESS, Path(".env"))):
        say(f"warning: {warning}")
    for file in foreign_modules():
        say(f"warning: {file} ran at the start of this process and could read its keys; remove it, or unset PYTHONPATH")
    with hangups_held(), orderly_end(), listen(host, port) as listener, _database(settings):
        try:
            if at_most == 1:
                _serve_here(listener)
            else:
                _serve_by_workers(settings, listener, chosen, at_most)
        except KeyboardInterrupt:
            say("stopped")


def _chosen(workers: str) -> tuple[int, Callable[[int], int]]:
    """Return how many workers there may be, and how many there are, given how many connections the database admits."""
    from keyledger.serving.worker_count import MOST, cores, within_connections

    if workers == "auto":
        at_most = cores()
        return at_most, lambda connections: within_connections(at_most, connections)
    if not workers.isascii() or not workers.isdigit() or not 1 <= int(workers) <= MOST:
        raise typer.BadParameter(f"is auto or a number from 1 to {MOST}", param_hint="--workers")
    return int(workers), lambda _: int(workers)


def _notes(settings: "Settings") -> list[str]:
    """Return notes about the catalogue. Raises SettingsError."""
    from keyledger.settings.ai_models import load_catalogue
    from keyledger.settings.catalogue_notes import catalogue_notes

    catalogue = load_catalogue(settings.ai_models_file, settings.providers)
    return catalogue_notes(catalogue, settings.providers, datetime.now(UTC).date(), SOON)


def _serve_here(listener: "socket.socket") -> None:
    from keyledger.assembly.compose import service_from_environment
    from keyledger.serving.http_server import address_of, serve_here
    from keyledger.serving.signals import on_hangup

    service = service_from_environment(OF_THIS_PROCESS, Path(".env"))
    with closing(service), on_hangup(service.reloader.reload_or_log):
        say(f"serving on {address_of(listener)}")
        serve_here(service.app, listener)


def _serve_by_workers(
    settings: "Settings", listener: "socket.socket", workers: Callable[[int], int], at_most: int
) -> None:
    """Serve with several processes. workers: how many, given how many connections the database admits."""
    from keyledger.llm import cleanse, needs_litellm, preload
    from keyledger.serving import bounded_http  # noqa: F401  loaded here for all processes
    from keyledger.serving.http_server import address_of
    from keyledger.serving.supervisor import Supervisor
    from keyledger.serving.worker import Worker
    from keyledger.serving.worker_slots import WorkerSlots
    from keyledger.settings import logs
    from keyledger.settings.ai_models import load_catalogue
    from scripts.terminal.endings import say_ending

    cleanse(OF_THIS_PROCESS)
    logs.configure(settings.log_level, settings.log_format)
    slots = WorkerSlots(at_most + 1)
    data_dir = settings.data_dir if settings.database_url is None else None

    def serve(slot: int, early: bool, started: int, lifeline: int) -> None:
        Worker(OF_THIS_PROCESS, data_dir, listener, slots, slot, early, started, lifeline).serve()

    Supervisor(
        serve,
        slots,
        ending=say_ending,
        workers=workers,
        load=preload if needs_litellm(load_catalogue(settings.ai_models_file, settings.providers)) else None,
        serving=lambda count: say(f"serving on {address_of(listener)} with {count} processes"),
    ).run()


@contextmanager
def _database(settings: "Settings") -> Iterator[None]:
    """Have the database ready; start or join the embedded server if none is configured.

    The application reads its own settings, in this process or in a worker, so the URL, which has no password, is passed
    in the environment.
    """
    from keyledger.assembly.open_ledger import database_of

    with ExitStack() as opened:
        dsn = database_of(settings.database, opened)
        if settings.database_url is None:
            os.environ["DATABASE_URL"] = dsn
            say(f"embedded PostgreSQL in {settings.data_dir}; set DATABASE_URL to use another server")
        yield
