"""Appends what is decided on the present state of a stream, and decides again where another node was faster.

Promises: the events stored were decided on the versions that they follow. Nothing is appended twice. That there is
nothing to append counts only once the log has confirmed a write after it was read.
Refuses: to try for ever; after `TRIES` conflicts the last one is the caller's.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from domain.errors import VersionConflictError
from domain.events.event import Event
from domain.events.event_log import EventLog

TRIES = 8
E = TypeVar("E", bound=Event)


def append_decided(log: EventLog, decide: Callable[[], Sequence[E]]) -> Sequence[E]:
    """Append the events that `decide` returns, if any, and return them.

    decide: reads the log at each call. Raises StoreUnavailableError, VersionConflictError.
    """
    for _ in range(TRIES - 1):
        with suppress(VersionConflictError):
            return _appended(log, decide())
    return _appended(log, decide())


def _appended(log: EventLog, events: Sequence[E]) -> Sequence[E]:
    if events:
        log.append(events)
    else:
        log.confirm([])
    return events
