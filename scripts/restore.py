"""`restore accept`: an operator says that the log may go on from a restored, older backup.

Promises: it shows what was found before it asks; what was accepted, by whom and from which position to which, stays in
the log; the last signed checkpoint is put aside, not removed. It works on the database itself, because the service does
not start before.
Refuses: another database than the one DATA_DIR was used with. Nothing is recorded when there is nothing to accept.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scripts.exits import Exit, Stop
from scripts.output import JsonOption, print_json, say

if TYPE_CHECKING:  # loaded only when the command runs
    from keyledger.restore import Restore
    from keyledger.settings import Settings

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="After a backup was restored.")


@app.callback()
def _group() -> None:
    """After a backup was restored."""


@app.command("accept")
def accept(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Accept a log that ends before, or differs from, what this node has seen of it; recorded in the audit trail."""
    from keyledger.direct_access import command_meta
    from keyledger.settings import load

    settings = load(os.environ, Path(".env"))
    with _restore(settings) as restore:
        found = restore.found()
        if found is None:
            say("nothing to accept: the log is as it was recorded")
            if as_json:
                print_json({"accepted": False, "from_position": None, "to_position": None})
            return
        say(found.detail)
        if not yes:
            _confirm()
        try:
            event = restore.accept(found, command_meta())
        except OSError:
            raise Stop(
                Exit.REFUSED,
                f"the anchor or the checkpoint in {settings.data_dir} cannot be replaced; the start is still refused",
            ) from None
    say(f"accepted as {event.actor}; the service can start")
    if as_json:
        print_json({"accepted": True, "from_position": event.from_position, "to_position": event.to_position})


@contextmanager
def _restore(settings: "Settings") -> Iterator["Restore"]:
    from keyledger.database_check import prepare_database
    from keyledger.direct_access import admin_address, database_of
    from keyledger.event_store import CredentialLog
    from keyledger.log_anchor import AnchorFile
    from keyledger.restore import Restore
    from projections.postgres import open_pool

    with ExitStack() as opened:
        dsn = database_of(settings, opened)
        prepare_database(dsn, admin_address(settings, dsn))  # the backup may be of an older release
        pool = open_pool(dsn)
        opened.callback(pool.close)
        yield Restore(pool, CredentialLog(pool), AnchorFile(settings.data_dir), lambda: datetime.now(UTC))


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise Stop(Exit.USAGE, "there is no terminal to confirm on; give --yes")
    if typer.prompt("Type accept to go on from here", err=True, default="", show_default=False) != "accept":
        raise Stop(Exit.REFUSED, "not confirmed; nothing was changed")
