"""The answer of a service that a command needs a second person, as commands print it."""

from collections.abc import Mapping

import typer

from scripts.terminal.output import print_json, say


def proposed(answer: Mapping[str, object], *, as_json: bool) -> bool:
    """Print the proposal that a command became, and return whether it became one."""
    if "proposal_id" not in answer:
        return False
    if as_json:
        print_json(dict(answer))
        return True
    say(
        f"this needs a second person; nothing was changed. Until {answer['expires_at']} someone else can run:"
        f" keyledger proposals approve {answer['proposal_id']}"
    )
    if answer.get("token") is not None:
        say("The token of the key, shown only once; it works after the approval:")
        typer.echo(str(answer["token"]))
    return True
