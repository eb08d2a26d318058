"""A JSON document as a table of its members, for the commands that show one thing.

A null, and a list or an object without members, is `-`; a boolean is `yes` or `no`.
"""

from collections.abc import Mapping

from scripts.terminal.output import Table, print_json, print_table


def print_members(document: Mapping[str, object], within: str = "", *, as_json: bool, wide: bool) -> None:
    """Print a document on stdout.

    within: the name of a member whose own members are shown in its place. wide: one line for each member.
    """
    if as_json:
        print_json(dict(document))
        return
    flat = dict(document)
    inner = flat.pop(within, None)
    flat |= inner if isinstance(inner, Mapping) else {}
    print_table(Table(("member", "value"), [(name, shown(value)) for name, value in flat.items()]), wide=wide)


def shown(value: object) -> str:
    """Return a value of JSON as the text of a cell."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={text}" for name, text in value.items()) or "-"
    return (" ".join(map(str, value)) or "-") if isinstance(value, list) else str(value)
