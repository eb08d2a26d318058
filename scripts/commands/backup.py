"""`backup`: save this ledger in a file that holds all of it, verified.

Promises: the file is there whole, readable by its owner alone, or not at all; what it holds was read back and compared
with the log. Services go on meanwhile. No encryption key is read: what was sealed stays so.
Refuses: to go through a pooler, whose sessions are anybody's.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from domain.credentials.key_shapes import masked
from scripts.terminal.atomic_file import atomic_file
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, print_json, say
from scripts.terminal.progress import ProgressDisplay


def backup(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="The file to write; one that is there is replaced at the end.", show_default=False
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Save the whole ledger in FILE, and verify that it can be read. Services may run."""
    from keyledger.assembly.open_ledger import Purpose, open_ledger
    from keyledger.backup import back_up
    from keyledger.backup.errors import BackupError
    from keyledger.backup.programs import programs_of
    from keyledger.settings.settings import load_database

    with open_ledger(load_database(os.environ, Path(".env")), Purpose.BACK_UP) as ledger:
        try:
            programs = programs_of(ledger.dsn, ledger.setting)
            with atomic_file(file) as written, ProgressDisplay() as display:
                end = back_up(ledger.dsn, programs, Path(written.name), display.update)
                size = Path(written.name).stat().st_size
        except BackupError as fault:
            raise CommandError(Exit.REFUSED, str(fault)) from None
    if as_json:
        print_json({"file": str(file), "bytes": size, "events": end.events, "last_position": end.position})
        return
    said = f"{file}: {end.events:,} events up to position {end.position:,}, {size:,} bytes, read back and compared"
    typer.echo(masked(said))
    say("keep ENCRYPTION_KEY apart from it: together they are readable, without it they are not")
