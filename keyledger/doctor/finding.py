"""What the doctor says of one thing it looked at.

Promises: a finding holds names, numbers, states and commands, never a value of a setting that is secret, nor what the
driver of the database or the system library said in words.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from domain.errors import StoreUnavailableError


class State(StrEnum):
    """How it is. A warning is worth a look; a fault keeps the service, or some calls, from working, or leaks."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    NOT_LOOKED_AT = "not looked at"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing. subject: a word or two. said: one sentence. next: the command to run next, None without one."""

    subject: str
    state: State
    said: str
    next: str | None = None


class CheckSkippedError(Exception):
    """What a check needs is not to be had; another finding says why. `said`: the sentence for this one."""

    def __init__(self, said: str, next_command: str | None = None) -> None:
        super().__init__(said)
        self.said = said
        self.next = next_command


def ok(subject: str, said: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(subject, State.OK, said)


def warning(subject: str, said: str, next_command: str | None) -> Finding:
    """Return what somebody should look at."""
    return Finding(subject, State.WARNING, said, next_command)


def fault(subject: str, said: str, next_command: str | None) -> Finding:
    """Return what has to be mended."""
    return Finding(subject, State.FAULT, said, next_command)


def listed(items: list[str], at_most: int = 5) -> str:
    """Return items in one line, and how many more there are."""
    more = f" and {len(items) - at_most} more" if len(items) > at_most else ""
    return ", ".join(items[:at_most]) + more


@contextmanager
def isolated(subject: str, findings: list[Finding]) -> Iterator[None]:
    """Turn whatever a check raises into a finding about its subject, so that the next one runs."""
    try:
        yield
    except CheckSkippedError as reason:
        findings.append(Finding(subject, State.NOT_LOOKED_AT, reason.said, reason.next))
    except StoreUnavailableError:
        findings.append(Finding(subject, State.NOT_LOOKED_AT, "the database does not answer"))
    except Exception as error:  # noqa: BLE001  half of everything may be broken, the check too
        said = f"the check itself failed ({type(error).__name__})"
        findings.append(Finding(subject, State.FAULT, said, "keyledger doctor --json, and report it"))
