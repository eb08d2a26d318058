"""`reload`: makes a running service read its settings again, over its REST API.

Promises: it succeeds only when the new settings are in force; settings that need a restart are named.
"""

from scripts.terminal.output import JsonOption, print_json, print_line, say
from scripts.terminal.service_client import DEFAULT_URL, KeyFileOption, ServiceClient, UrlOption, admin_key


def reload(url: UrlOption = DEFAULT_URL, api_key_file: KeyFileOption = None, as_json: JsonOption = False) -> None:
    """Make a running service reload its settings. Applies all of them, or none and prints why."""
    with ServiceClient(url, admin_key(api_key_file)) as service:
        answer = service.call("POST", "/api/v1/reload")
    if as_json:
        print_json(answer)
        return
    changed, needs_restart, warnings = (answer.get(name) for name in ("changed", "needs_restart", "warnings"))
    print_line(f"now in force: {_listed(changed)}" if changed else "nothing changed")
    if needs_restart:
        say(f"restart the service to change: {_listed(needs_restart)}")
    for warning in warnings if isinstance(warnings, list) else []:
        say(f"warning: {warning}")


def _listed(names: object) -> str:
    return ", ".join(map(str, names)) if isinstance(names, list) else ""
