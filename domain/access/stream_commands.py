"""Carries out commands on streams whose last event is the whole state, such as an access key's or a tenant's.

Promises: when a command returns, its event is stored, or was stored by an earlier request with the same command id.
An event follows the state that it was decided on; after a conflict it is decided again. When the answer of the database
is lost, the stored event is found and not written again. An outcome that was only read counts once a later write is
confirmed.
Refuses: a command id that was used for another command; to try for ever; to decide on a state that anyone could have
written, which the new event would make the ledger's own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Generic, TypeVar
from uuid import UUID

from domain.access.append_tries import AppendTries
from domain.credentials.command_batch import command_reused
from domain.credentials.commands import Precondition
from domain.errors import CredentialIntegrityError, ServiceError, VersionConflictError
from domain.events.event import Clock, CommandMeta, Event
from domain.events.event_log import EventLog

E = TypeVar("E", bound=Event)
S = TypeVar("S")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class StreamCommand(Generic[S, E]):
    """A command on one stream.

    decide: returns the event that follows from a state at a time, None if nothing changes. same: whether the event of
    an earlier request with this command id is this command's. require: raises what a state does not allow.
    """

    stream: UUID
    decide: Callable[[S | None, datetime], E | None]
    same: Callable[[E], bool]
    meta: CommandMeta
    require: Callable[[S | None], None]


class StreamCommands(Generic[S, E]):
    """Carries out commands on streams of one kind, which are about `what`.

    kind: the class of their events. evolve: the state after one.
    """

    def __init__(self, log: EventLog, clock: Clock, kind: type[E], evolve: Callable[[E], S], what: str) -> None:
        self._log = log
        self._clock = clock
        self._kind = kind
        self._evolve = evolve
        self._what = what

    def carry_out(self, command: StreamCommand[S, E]) -> S | None:
        """Append what is decided, again after a conflict, and return the state after it; None where there is none.

        Raises what `decide` and `require` raise, InvalidRequestError, VersionConflictError, StoreUnavailableError,
        CredentialIntegrityError.
        """
        stream, meta = command.stream, command.meta
        tries = AppendTries()
        while True:
            if (meta.may_repeat or tries.failure) and (earlier := self._earlier(stream, meta)) is not None:
                self._log.confirm([earlier])
                if not command.same(earlier):
                    raise command_reused()
                return self._evolve(earlier)
            last = self._log.last(stream)
            if last is not None and self._log.disowns(last):
                raise CredentialIntegrityError("event-code-under-a-key-that-is-not-configured", what=self._what)
            state = self._evolve(last) if isinstance(last, self._kind) else None
            command.require(state)
            event = command.decide(state, self._clock())
            if event is not None and tries.appended(partial(self._log.append, [event])):
                return self._evolve(event)
            if event is None and tries.appended(partial(self._log.confirm, [last] if last is not None else [])):
                return state

    def _earlier(self, stream: UUID, meta: CommandMeta) -> E | None:
        wanted = (stream, meta.command_id)
        found = self._log.find_all([wanted]).get(wanted)
        return found if isinstance(found, self._kind) else None


def require_precondition(precondition: Precondition, version: int, *, known: bool, what: str) -> None:
    """Raise VersionConflictError where a precondition does not hold. what: the thing, which exists if it is `known`."""
    wrong_version = precondition.versions is not None and not (known and version in precondition.versions)
    wrong_existence = precondition.exists is not None and precondition.exists != known
    if wrong_version or wrong_existence:
        raise VersionConflictError(version, precondition=True, what=what)


def each_alone(commands: Sequence[Callable[[], R]]) -> list[R | Exception]:
    """Carry out commands one after the other, and return the outcome of each."""
    return [_outcome(command) for command in commands]


def _outcome(command: Callable[[], R]) -> R | Exception:
    try:
        return command()
    except ServiceError as refused:
        return refused
