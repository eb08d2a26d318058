"""The answer of a service that a command needs a second person, as commands print it.

Promises: a command that became a proposal never ends like one that was carried out. Its exit code is PROPOSED, its
first line says that nothing was changed, and with `--json` it prints the proposal, whose `state` is `open`.
"""

from collections.abc import Mapping

import typer

from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import print_json, say


def require_carried_out(answer: Mapping[str, object], *, as_json: bool) -> None:
    """Print the proposal that a command became and raise CommandError; do nothing if it was carried out."""
    if "proposal_id" not in answer:
        return
    if as_json:
        print_json(dict(answer))
        raise CommandError(Exit.PROPOSED)
    say(
        f"proposed, not carried out: this needs a second person, and nothing was changed. Until {answer['expires_at']}"
        f" someone else can run: keyledger proposals approve {answer['proposal_id']}"
    )
    if answer.get("token") is not None:
        say("The token of the key, shown only once; it works after the approval:")
        typer.echo(str(answer["token"]))
    raise CommandError(Exit.PROPOSED)
