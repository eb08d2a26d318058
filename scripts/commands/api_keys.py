"""`api-keys create`: API keys for people and programs that use the service.

Promises: a key is printed once, on stdout, and stored nowhere; the configuration holds only a digest of it.
"""

import secrets
from typing import Annotated

import typer

from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, print_json, say

_PREFIX = "kl_"


def create(
    name: Annotated[str, typer.Option(help="Who uses the key; the audit shows it.")],
    role: Annotated[str, typer.Option(help="sysadmin, auditor, operator or runtime.")],
    as_json: JsonOption = False,
) -> None:
    """Create an API key: prints the secret once, and the line for API_KEYS that lets it in."""
    from api.front.auth import Role, format_named_key
    from domain.credentials.secret import Secret

    if role not in list(Role):
        raise CommandError(Exit.USAGE, f"--role must be one of: {', '.join(Role)}")
    secret = Secret(_PREFIX + secrets.token_urlsafe(32))
    try:
        line = format_named_key(name, Role(role), secret)
    except ValueError as fault:  # its text is ours: it names the rule
        raise CommandError(Exit.USAGE, f"--name: {fault}") from None
    if as_json:
        print_json({"name": name, "role": role, "api_key": secret.reveal(), "api_keys_entry": line})
        return
    say("The key, shown only now; send it as X-API-Key:")
    typer.echo(secret.reveal())
    say("Add this to API_KEYS (entries are separated by commas) and restart the service:")
    typer.echo(line)
