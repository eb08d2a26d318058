"""`audit search|show` and `history`: the audit trail of a running service, for people.

Promises: the words of a search are those of the REST interface's `q`; what is printed holds no secret, for the service
gives none; reading is recorded there. `--json` prints the entries as the service gave them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, cast
from urllib.parse import urlencode

import typer

from domain.audit.catalogue import BY_ACTION
from domain.audit.entries import OF_A_CREDENTIAL
from domain.event_definition import ActionDefinition, EventDefinition
from scripts.terminal.output import (
    JsonOption,
    Table,
    WideOption,
    print_hanging,
    print_json,
    print_line,
    print_table,
    say,
)
from scripts.terminal.service_client import DEFAULT_URL, KeyFileOption, ServiceClient, UrlOption, admin_key

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Who did what, when, from where and why.")

ENTRIES = "/api/v1/audit/entries"
PAGE = 500
Entry = Mapping[str, object]


@app.callback()
def _group() -> None:
    """Who did what, when, from where and why."""


@app.command("search")
def search(
    *,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUERY]...",
            help="Such as: tenant:UUID action:deleted since:24h ticket. All terms must hold.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most this many entries.")] = 50,
    oldest: Annotated[bool, typer.Option("--oldest", help="The oldest first instead of the newest.")] = False,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Search the audit trail, the newest entries first."""
    query = " ".join(words or [])
    order = "oldest" if oldest else "newest"
    with ServiceClient(url, admin_key(api_key_file)) as service:
        found = list(_entries(service, {"q": query} if query else {}, limit, order))
    if as_json:
        print_json({"entries": found})
    elif not found:
        say("nothing fits")
    else:
        print_table(Table(tuple(_LISTED.values()), [_row(entry) for entry in found], _LESS), wide=wide)


@app.command("show")
def show(
    position: Annotated[int, typer.Argument(metavar="POSITION", help="Place in the log.", min=1)],
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show everything about one entry."""
    with ServiceClient(url, admin_key(api_key_file)) as service:
        entry = service.call("GET", f"{ENTRIES}/{position}")
    if as_json:
        print_json(entry)
        return
    details = cast("dict[str, object]", entry["details"])
    shown = {name: value for name, value in entry.items() if name != "details" and value is not None} | details
    print_table(Table(("field", "value"), [(name, str(value)) for name, value in shown.items()]))


def history(
    *,
    tenant_id: Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's UUID.", show_default=False)],
    provider: Annotated[
        str | None, typer.Argument(metavar="[PROVIDER]", help="Only this one.", show_default=False)
    ] = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what happened to a tenant's credentials, oldest first, each step with what it changed."""
    terms = f"tenant:{tenant_id}" + (f" provider:{provider}" if provider else "")
    with ServiceClient(url, admin_key(api_key_file)) as service:
        entries = [one for one in _entries(service, {"q": terms}, None, "oldest") if one["action"] in _STEPS]
    if as_json:
        print_json({"entries": entries})
    elif not entries:
        say("nothing happened to credentials of this tenant")
    else:
        _print_timelines(entries)


def _entries(service: ServiceClient, wanted: Mapping[str, str], limit: int | None, order: str) -> Iterator[Entry]:
    """Yield the entries that fit, page by page."""
    cursor: dict[str, str] = {}
    left = limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        answer = service.call("GET", f"{ENTRIES}?{urlencode({**wanted, **cursor, 'order': order, 'limit': size})}")
        page = cast("list[Entry]", answer["entries"])
        yield from page
        if answer["next"] is None:
            return
        left = None if left is None else left - len(page)
        cursor = {"before" if order == "newest" else "after": str(answer["next"])}


_LISTED = {
    "position": "position",
    "timestamp": "time (UTC)",
    "action": "action",
    "outcome": "outcome",
    "tenant_id": "tenant",
    "provider": "provider",
    "actor": "actor",
    "source": "source",
    "masked_key": "key",
    "reason": "reason",
}
_LESS = ("reason", "key", "source", "tenant", "actor")
_STEPS: Mapping[object, tuple[EventDefinition, ActionDefinition]] = {
    action: BY_ACTION[action] for action in OF_A_CREDENTIAL
}
_TRACKED = ("masked_key", "fingerprint", "endpoint", "api_version", "deployment_name", "key_id")
_NAMES = {"masked_key": "key", "key_id": "sealed under", "api_version": "API version", "deployment_name": "deployment"}


def _row(entry: Entry) -> Sequence[str]:
    cells = {name: _text(entry.get(name)) for name in _LISTED}
    return list(({**cells, "timestamp": _time(entry), "action": _action(entry)}).values())


def _action(entry: Entry) -> str:
    details = cast("Mapping[str, object]", entry["details"])
    if "code" not in details:
        return str(entry["action"])
    times = f" x {details['count']}" if details["count"] != 1 else ""
    return f"{entry['action']} {details['status']} {details['code']}{times}"


def _print_timelines(entries: Sequence[Entry]) -> None:
    providers = sorted({str(entry["provider"]) for entry in entries})
    for provider in providers:
        print_line(f"{provider}", style="bold")
        before: dict[str, str] = {}
        for entry in entries:
            if entry["provider"] == provider:
                before = _print_step(entry, before)


def _print_step(entry: Entry, before: dict[str, str]) -> dict[str, str]:
    """Print one step and return what is true after it."""
    definition, action = _STEPS[entry["action"]]
    by = f"{entry['actor']} ({entry['source']})" + (f": {entry['reason']}" if entry["reason"] else "")
    print_hanging(f"{_time(entry)}  v{entry['version']}  {action.timeline or action.name} by {by}", "  ")
    if entry["masked_key"] is None:  # the event does not carry the credential's state
        return {} if definition.removes else before
    known = {**cast("dict[str, object]", entry["details"]), **entry}
    after = {name: str(known[name]) for name in _TRACKED if known.get(name) is not None}
    for name in _TRACKED:
        if before.get(name) != after.get(name):
            shown = f"{before[name]} -> {after.get(name, 'none')}" if name in before else after.get(name, "none")
            print_hanging(f"{_NAMES.get(name, name)}: {shown}", "      ")
    return after


def _time(entry: Entry) -> str:
    return str(entry["timestamp"]).replace("T", " ")[:19]


def _text(value: object) -> str:
    return "" if value is None else str(value)
