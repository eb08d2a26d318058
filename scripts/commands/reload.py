"""`reload`: a running service reads its settings again, over its REST API.

Promises: it ends well only when the new settings are in force; what needs a restart is named.
"""

import typer

from scripts.terminal.output import JsonOption, print_json, say
from scripts.terminal.service_client import DEFAULT_URL, KeyFileOption, ServiceClient, UrlOption, admin_key


def reload(url: UrlOption = DEFAULT_URL, api_key_file: KeyFileOption = None, as_json: JsonOption = False) -> None:
    """Make a running service read its settings again: all of them, or none and the reasons."""
    with ServiceClient(url, admin_key(api_key_file)) as service:
        answer = service.call("POST", "/api/v1/reload")
    if as_json:
        print_json(answer)
        return
    changed, needs_restart, warnings = (answer.get(name) for name in ("changed", "needs_restart", "warnings"))
    typer.echo(f"in force: {_listed(changed)}" if changed else "nothing changed")
    if needs_restart:
        say(f"only a restart changes: {_listed(needs_restart)}")
    for warning in warnings if isinstance(warnings, list) else []:
        say(f"warning: {warning}")


def _listed(names: object) -> str:
    return ", ".join(map(str, names)) if isinstance(names, list) else ""
