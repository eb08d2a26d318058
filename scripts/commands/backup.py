"""`backup`: writes the whole ledger to a file and verifies it.

Promises: the file, readable by its owner only, exists completely or not at all; its content was read back and compared
with the log. Services can keep running. No encryption key is read: credentials stay sealed.
Refuses: connections through a pooler, where a session may be shared.
"""

from pathlib import Path
from typing import Annotated

import typer

from domain.credentials.key_shapes import masked
from keyledger.settings.start_environment import OF_THIS_PROCESS
from scripts.terminal.atomic_file import atomic_file
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, print_json, print_line, say
from scripts.terminal.progress import ProgressDisplay


def backup(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="File to write; an existing file is replaced when the backup is complete.",
            show_default=False,
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Back up the ledger to FILE and verify it. Services can keep running."""
    from keyledger.assembly.open_ledger import Purpose, open_ledger
    from keyledger.backup import back_up
    from keyledger.backup.errors import BackupError
    from keyledger.backup.programs import programs_of
    from keyledger.settings.settings import load_database

    with open_ledger(load_database(OF_THIS_PROCESS, Path(".env")), Purpose.BACK_UP) as ledger:
        try:
            programs = programs_of(ledger.dsn, ledger.setting)
            with atomic_file(file) as written, ProgressDisplay() as display:
                end = back_up(ledger.dsn, programs, Path(written.name), display.update)
                size = Path(written.name).stat().st_size
        except BackupError as error:
            raise CommandError(Exit.REFUSED, str(error)) from None
    if as_json:
        print_json({"file": str(file), "bytes": size, "events": end.events, "last_position": end.position})
        return
    said = f"{file}: {end.events:,} events up to position {end.position:,}, {size:,} bytes, read back and verified"
    print_line(masked(said))
    say("keep ENCRYPTION_KEY in another place: without it, the credentials in the backup cannot be read")
