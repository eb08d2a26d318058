"""Findings, the results of the doctor's checks.

Promises: a finding contains names, numbers, states and commands, never a secret setting or the text of an error of the
database driver or the system library.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from domain.errors import StoreUnavailableError


class State(StrEnum):
    """The result of a check. A warning deserves a look; a fault stops the service or some calls, or leaks a secret."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    NOT_LOOKED_AT = "not looked at"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. subject: a word or two. said: one sentence. next: the command to run next, or None."""

    subject: str
    state: State
    said: str
    next: str | None = None


class CheckSkippedError(Exception):
    """A check lacks what it needs; another finding says why. `said`: the sentence for this one."""

    def __init__(self, said: str, next_command: str | None = None) -> None:
        super().__init__(said)
        self.said = said
        self.next = next_command


def ok(subject: str, said: str) -> Finding:
    """Return a finding that something is in order."""
    return Finding(subject, State.OK, said)


def warning(subject: str, said: str, next_command: str | None) -> Finding:
    """Return a finding that deserves a look."""
    return Finding(subject, State.WARNING, said, next_command)


def fault(subject: str, said: str, next_command: str | None) -> Finding:
    """Return a finding that has to be fixed."""
    return Finding(subject, State.FAULT, said, next_command)


def listed(items: list[str], at_most: int = 5) -> str:
    """Return the first items in one line, and how many more there are."""
    more = f" and {len(items) - at_most} more" if len(items) > at_most else ""
    return ", ".join(items[:at_most]) + more


@contextmanager
def isolated(subject: str, findings: list[Finding]) -> Iterator[None]:
    """Turn whatever a check raises into a finding about its subject, so that the next check runs."""
    try:
        yield
    except CheckSkippedError as reason:
        findings.append(Finding(subject, State.NOT_LOOKED_AT, reason.said, reason.next))
    except StoreUnavailableError:
        findings.append(Finding(subject, State.NOT_LOOKED_AT, "the database does not answer"))
    except Exception as error:  # noqa: BLE001  anything may be broken, even the check
        said = f"the check itself failed ({type(error).__name__})"
        findings.append(Finding(subject, State.FAULT, said, "keyledger doctor --json, and report it"))
