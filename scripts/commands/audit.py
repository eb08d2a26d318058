"""`audit search|show`: reads the audit trail of a running service.

Promises: search terms are those of the REST API's `q`; no secret is printed, since the service returns none; the
service records the reading. `--json` prints entries as the service returned them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, cast
from urllib.parse import urlencode

import typer

from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table, say
from scripts.terminal.service_client import DEFAULT_URL, KeyFileOption, ServiceClient, UrlOption, admin_key

ENTRIES = "/api/v1/audit/entries"
PAGE = 500
Entry = Mapping[str, object]


def search(
    *,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUERY]...",
            help="Search terms, all of which must match, such as: tenant:UUID action:deleted since:24h ticket",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Show at most this many entries.")] = 50,
    oldest: Annotated[bool, typer.Option("--oldest", help="Show the oldest entries first.")] = False,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Search the audit trail, newest entries first."""
    query = " ".join(words or [])
    order = "oldest" if oldest else "newest"
    with ServiceClient(url, admin_key(api_key_file)) as service:
        found = list(entries_of(service, {"q": query} if query else {}, limit, order))
    if as_json:
        print_json({"entries": found})
    elif not found:
        say("no entries match")
    else:
        print_table(Table(tuple(_LISTED.values()), [_row(entry) for entry in found], _LESS), wide=wide)


def show(
    position: Annotated[int, typer.Argument(metavar="POSITION", help="Position in the log.", min=1)],
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Show one entry in full."""
    with ServiceClient(url, admin_key(api_key_file)) as service:
        entry = service.call("GET", f"{ENTRIES}/{position}")
    if as_json:
        print_json(entry)
        return
    details = cast("dict[str, object]", entry["details"])
    erased = cast("Sequence[str]", entry.get("erased", ()))
    members = {name: value for name, value in entry.items() if name not in {"details", "erased"} and value is not None}
    rows = members | details | dict.fromkeys(erased, ERASED)
    print_table(Table(("field", "value"), [(name, str(value)) for name, value in rows.items()]), wide=wide)


def entries_of(service: ServiceClient, wanted: Mapping[str, str], limit: int | None, order: str) -> Iterator[Entry]:
    """Yield matching entries, fetched page by page.

    wanted: query parameters such as `q`. limit: the most to yield, None for all. order: `newest` or `oldest` first.
    Raises CommandError as `ServiceClient.call` does.
    """
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


def _row(entry: Entry) -> Sequence[str]:
    cells = {name: shown(entry, name) for name in _LISTED}
    return list(({**cells, "timestamp": time_of(entry), "action": _action(entry)}).values())


def _action(entry: Entry) -> str:
    details = cast("Mapping[str, object]", entry["details"])
    if "code" not in details:
        return str(entry["action"])
    times = f" x {details['count']}" if details["count"] != 1 else ""
    return f"{entry['action']} {details['status']} {details['code']}{times}"


def time_of(entry: Entry) -> str:
    """Return when an entry was recorded, to the second, in UTC."""
    return str(entry["timestamp"]).replace("T", " ")[:19]


ERASED = "(erased)"


def shown(entry: Entry, name: str) -> str:
    """Return a member of an entry as a cell; `(erased)` for one that was recorded and can no longer be read."""
    if name in cast("Sequence[str]", entry.get("erased", ())):
        return ERASED
    value = entry.get(name)
    return "" if value is None else str(value)
