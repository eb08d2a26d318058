"""`api-keys create`: creates an API key for a person or program that uses the service.

Promises: the key is printed once, on stdout, and stored nowhere; the configuration holds only its digest.
"""

import secrets
from typing import Annotated

import typer

from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, print_json, say

_PREFIX = "kl_"


def create(
    name: Annotated[str, typer.Option(help="The key's user, shown in the audit trail.")],
    role: Annotated[str, typer.Option(help="sysadmin, auditor, operator or runtime.")],
    as_json: JsonOption = False,
) -> None:
    """Create an API key. Prints the key, once, and its entry for API_KEYS."""
    from api.front.auth import ROLES, format_named_key
    from domain.access.roles import Role
    from domain.credentials.secret import Secret

    if role not in ROLES:
        raise CommandError(Exit.USAGE, f"--role must be one of: {', '.join(ROLES)}")
    secret = Secret(_PREFIX + secrets.token_urlsafe(32))
    try:
        line = format_named_key(name, Role(role), secret)
    except ValueError as error:  # our own text, which names the rule
        raise CommandError(Exit.USAGE, f"--name: {error}") from None
    if as_json:
        print_json({"name": name, "role": role, "api_key": secret.reveal(), "api_keys_entry": line})
        return
    say("The API key, shown only once; send it as X-API-Key:")
    typer.echo(secret.reveal())
    say("Add this entry to API_KEYS (comma-separated) and restart the service:")
    typer.echo(line)
