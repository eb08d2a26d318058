"""`history`: shows each change of a tenant's credentials, from the audit trail of a running service.

Promises: no secret is printed; the service records the reading. `--json` prints entries as the service returned them.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, cast

import typer

from domain.audit.entries import OF_A_CREDENTIAL
from domain.audit.event_catalogue import BY_ACTION
from domain.events.event_definition import ActionDefinition, EventDefinition
from scripts.commands.audit import Entry, entries_of, shown, time_of
from scripts.terminal.output import JsonOption, print_hanging, print_json, print_line, say
from scripts.terminal.service_client import DEFAULT_URL, KeyFileOption, ServiceClient, UrlOption, admin_key


def history(
    *,
    tenant_id: Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's UUID.", show_default=False)],
    provider: Annotated[
        str | None,
        typer.Argument(metavar="[PROVIDER]", help="Show only this provider's credential.", show_default=False),
    ] = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a tenant's credentials over time. Oldest first, with what each step changed."""
    terms = f"tenant:{tenant_id}" + (f" provider:{provider}" if provider else "")
    with ServiceClient(url, admin_key(api_key_file)) as service:
        entries = [one for one in entries_of(service, {"q": terms}, None, "oldest") if one["action"] in _STEPS]
    if as_json:
        print_json({"entries": entries})
    elif not entries:
        say("this tenant's credentials have no history")
    else:
        _print_timelines(entries)


_STEPS: Mapping[object, tuple[EventDefinition, ActionDefinition]] = {
    action: BY_ACTION[action] for action in OF_A_CREDENTIAL
}
_TRACKED = ("masked_key", "fingerprint", "endpoint", "api_version", "deployment_name", "key_id")
_NAMES = {
    "masked_key": "key",
    "key_id": "sealed under",
    "api_version": "API version",
    "deployment_name": "deployment",
}


def _print_timelines(entries: Sequence[Entry]) -> None:
    providers = sorted({str(entry["provider"]) for entry in entries})
    for provider in providers:
        print_line(f"{provider}", style="bold")
        before: dict[str, str] = {}
        for entry in entries:
            if entry["provider"] == provider:
                before = _print_step(entry, before)


def _print_step(entry: Entry, before: dict[str, str]) -> dict[str, str]:
    """Print one step and return the tracked values after it."""
    definition, action = _STEPS[entry["action"]]
    reason = shown(entry, "reason")
    by = f"{shown(entry, 'actor')} ({entry['source']})" + (f": {reason}" if reason else "")
    print_hanging(f"{time_of(entry)}  v{entry['version']}  {action.timeline or action.name} by {by}", "  ")
    if entry["causation_id"] is not None:
        print_hanging(f"caused by: command {entry['causation_id']}", "      ")
    if entry["masked_key"] is None:  # the event does not carry the credential's state
        return {} if definition.removes else before
    known = {**cast("dict[str, object]", entry["details"]), **entry}
    after = {name: str(known[name]) for name in _TRACKED if known.get(name) is not None}
    for name in _TRACKED:
        if before.get(name) != after.get(name):
            change = f"{before[name]} -> {after.get(name, 'none')}" if name in before else after.get(name, "none")
            print_hanging(f"{_NAMES.get(name, name)}: {change}", "      ")
    return after
