"""The operator who runs a command on the database itself, as the log records it."""

import getpass
import re
from uuid import uuid4

from domain.events.event import SERVICE, CommandMeta, CommandSource

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def command_meta() -> CommandMeta:
    """Return the operator who runs this command: the name of the account, or `cli` where it has no plain name."""
    return CommandMeta(_actor(), str(uuid4()), str(uuid4()), role="operator", source=CommandSource.CLI.value)


def service_meta() -> CommandMeta:
    """Return the service itself, for what no caller asked for."""
    return CommandMeta("service", str(uuid4()), str(uuid4()), role=SERVICE, source=CommandSource.SERVICE.value)


def _actor() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in many containers
        return "cli"
    return f"cli:{name}" if _PLAIN_NAME.fullmatch(name) else "cli"
