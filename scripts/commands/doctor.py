"""`doctor`: examines a deployment and names the next command for each finding.

Promises: read-only; it needs no running service and prints no secret. Exits with 1 when it found a fault, else with 0,
even if there are warnings or checks that could not run.
"""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyledger.settings.start_environment import OF_THIS_PROCESS
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table, say

if TYPE_CHECKING:  # loaded only when the command runs
    from keyledger.doctor import Finding, State


def doctor(
    host: Annotated[str, typer.Option(help="Address that the service listens on, or will.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port that the service listens on, or will.")] = 8000,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Diagnose a deployment. Checks settings, database, keys, anchors, catalogue, endpoints, issuers, clock, disk,
    port, files, memory, start-up code and peers.
    """
    from keyledger.doctor import State, circumstances, examine

    with circumstances(OF_THIS_PROCESS, Path(".env"), host, port) as here:
        findings = examine(here)
    count = Counter(finding.state for finding in findings)
    if as_json:
        print_json({"ok": not count[State.FAULT], "findings": [_as_json(finding) for finding in findings]})
    else:
        columns = ("check", "state", "finding", "next")
        print_table(Table(columns, [_row(finding) for finding in findings], ("next",)), wide=wide)
    told = ", ".join(_counted(state, count[state]) for state in State if count[state])
    if count[State.FAULT]:
        raise CommandError(Exit.ERROR_FOUND, told)
    say(told)


def _counted(state: "State", number: int) -> str:
    """Return `2 warnings`; the states that are not nouns have no plural."""
    from keyledger.doctor import State

    plural = "s" if number > 1 and state in {State.WARNING, State.FAULT} else ""
    return f"{number} {state}{plural}"


def _row(finding: "Finding") -> tuple[str, str, str, str]:
    return finding.subject, finding.state, finding.said, finding.next or ""


def _as_json(finding: "Finding") -> dict[str, object]:
    return {"subject": finding.subject, "state": finding.state, "said": finding.said, "next": finding.next}
