"""What a command needs that works on the database itself, without a service: its address, and who runs the command.

Promises: the database is the one that `serve` finds with the same settings; nothing heavy is loaded for it.
"""

import getpass
import re
from contextlib import ExitStack
from uuid import uuid4

from domain.event import CommandMeta, CommandSource
from keyledger.settings.settings import Settings

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def database_of(settings: Settings, resources: ExitStack) -> str:
    """Return the address of the database; starts the embedded server where none is named, until `resources` close.

    Raises EmbeddedPostgresError.
    """
    if settings.database_url is not None:
        return settings.database_url.reveal()
    from keyledger.embedded_postgres import start  # not loaded where a server is given

    return resources.enter_context(start(settings.data_dir)).dsn()


def admin_address(settings: Settings, dsn: str) -> str:
    """Return where tables are made and copied: past any pooler, if the settings say how. dsn: where requests go."""
    return settings.database_admin_url.reveal() if settings.database_admin_url is not None else dsn


def command_meta() -> CommandMeta:
    """Return who runs this command, as the log keeps it: the account's name, as far as the system tells."""
    return CommandMeta(_actor(), str(uuid4()), str(uuid4()), role="operator", source=CommandSource.CLI.value)


def _actor() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in many containers
        return "cli"
    return f"cli:{name}" if _PLAIN_NAME.fullmatch(name) else "cli"
