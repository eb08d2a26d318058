"""`doctor`: what is wrong with a deployment, and the next command for each finding.

Promises: it changes nothing and needs no running service; no secret is printed. Exits 1 when a fault was found, and 0
otherwise, whatever warnings there are and whatever could not be looked at.
"""

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table, say

if TYPE_CHECKING:  # loaded only when the command runs
    from keyledger.doctor import Finding, State


def doctor(
    host: Annotated[str, typer.Option(help="Address that the service listens on, or is to.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port.")] = 8000,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Look at settings, database, keys, anchors, catalogue, endpoints, clock, disk, port, files and peers."""
    from keyledger.doctor import State, circumstances, examine

    with circumstances(os.environ, Path(".env"), host, port) as here:
        findings = examine(here)
    count = Counter(finding.state for finding in findings)
    if as_json:
        print_json({"ok": not count[State.FAULT], "findings": [_as_json(finding) for finding in findings]})
    else:
        columns = ("looked at", "state", "finding", "next")
        print_table(Table(columns, [_row(finding) for finding in findings], ("next",)), wide=wide)
    told = ", ".join(_counted(state, count[state]) for state in State if count[state])
    if count[State.FAULT]:
        raise CommandError(Exit.FAULT_FOUND, told)
    say(told)


def _counted(state: "State", number: int) -> str:
    """Return `2 warnings`; what is ok or was not looked at has no plural."""
    from keyledger.doctor import State

    plural = "s" if number > 1 and state in {State.WARNING, State.FAULT} else ""
    return f"{number} {state}{plural}"


def _row(finding: "Finding") -> tuple[str, str, str, str]:
    return finding.subject, finding.state, finding.said, finding.next or ""


def _as_json(finding: "Finding") -> dict[str, object]:
    return {"subject": finding.subject, "state": finding.state, "said": finding.said, "next": finding.next}
