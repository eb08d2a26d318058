"""Commands on credentials, from a checked request to a stored event, decided together in order.

Promises: when `handle` returns, the change is stored and applies on every node. A command takes effect once, however
often its id is sent; when the answer of the database is lost, the stored event is found and not written again. Each
command has the outcome that it would have had alone, after those before it; one refused command never fails the batch.
One statement reads what this process does not remember of the state, for the whole batch; one append checks what was
decided on and stores the events.
Refuses: commands that `credential.decide` refuses, and those that the operator's rules for the tenant refuse. A crash
at any point leaves either no event or the event with its
row of the projection.
An outcome that no event of the batch carries, such as that of a repeated command, counts only once the log confirms a
write after it (`EventLog.confirm`).
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from domain.credentials.commands import DeleteCredential, SetCredential
from domain.credentials.credential import Credential, CredentialDeleted, CredentialSet, decide, evolve, stream_id
from domain.credentials.secret import Sealer
from domain.credentials.stored import CurrentCredentials, Stored
from domain.credentials.tenant_rules import TenantRules
from domain.errors import (
    CredentialNotFoundError,
    ErrorCode,
    InvalidRequestError,
    ServiceError,
    StoreUnavailableError,
    VersionConflictError,
)
from domain.events.event import Clock, Event
from domain.events.event_log import NOTHING_PRESUMED, PresumingLog
from domain.tenants.tenant import tenant_stream

LOOK_AGAIN_S = 0.5
"""Seconds after which an outage is no longer looked into: the caller has waited long enough."""

AdminCommand = SetCredential | DeleteCredential
"""The commands of administrators."""

CommandResult = Credential | Exception
"""The outcome of a command: the state after it, or the error that refused it."""


ATTEMPTS = 8
"""Attempts to store a command despite conflicts. Three are too few for eight writers of one credential."""


class CommandBatch:
    """Commands and, once they are decided, their outcomes and events.

    outcomes: one for each command; they hold once `events` are stored. events: to be stored together, in this order.
    read: whether an outcome only repeats what was read; it holds once the log confirms `relied_on`.
    presumed: the newest events that were decided on, for the append to check. remembered: whether any was not read.
    """

    def __init__(
        self, commands: Sequence[AdminCommand], sealer: Sealer, clock: Clock, *, registration_required: bool = False
    ) -> None:
        """registration_required: a credential is set only for a tenant that is registered."""
        self.outcomes: list[CommandResult] = []
        self.events: list[Event] = []
        self._commands = commands
        self._sealer = sealer
        self._clock = clock
        self._rules = TenantRules(registration_required=registration_required)
        self._unchanged: dict[tuple[str, str], Event] = {}
        self._unproved: list[Event] = []
        self.read = False
        self.relied_on: list[Event] = []
        self.presumed = NOTHING_PRESUMED
        self.remembered = False

    def decide(self, log: PresumingLog, projection: CurrentCredentials, *, sent_before: bool) -> None:
        """Decide the commands on the present state of the log and the projection.

        The state may be remembered where there is something to append, because the append checks it.
        sent_before: an earlier attempt may have been stored, so every command id is looked up; otherwise only those
        of commands that may repeat.
        Raises StoreUnavailableError, and CredentialIntegrityError for an event of any of their streams.
        """
        self._decide_on_newest(log, projection, sent_before=sent_before, read=False)
        if self.remembered and not self.events:
            self._decide_on_newest(log, projection, sent_before=sent_before, read=True)

    def _decide_on_newest(
        self, log: PresumingLog, projection: CurrentCredentials, *, sent_before: bool, read: bool
    ) -> None:
        tenant_ids = {command.tenant_id for command in self._commands}
        streams = [*map(_stream, self._commands), *map(tenant_stream, tenant_ids)]
        newest, self.presumed, self.remembered = log.presumed(streams, read=read)
        self._rules.read(tenant_ids, newest, log)
        deleted = {_stream(command) for command in self._commands if isinstance(command, DeleteCredential)}
        again = [
            event for stream, event in newest.items() if stream in deleted and isinstance(event, CredentialDeleted)
        ]
        self._unproved = [event for event in again if not log.proves(event)]
        ids = [(_stream(one), one.meta.command_id) for one in self._commands if sent_before or one.meta.may_repeat]
        earlier = log.find_all(ids) if ids else {}
        self._decide(newest, earlier, damaged=frozenset())
        if self._unchanged:
            places = list(self._unchanged)
            shown = zip(places, projection.read_all(places), strict=True)
            damaged = frozenset(place for place, row in shown if row != Stored.of(self._unchanged[place]))
            if damaged:  # the projection differs from the log there; storing the same again repairs it
                self._decide(newest, earlier, damaged=damaged)

    def _decide(
        self,
        newest: Mapping[UUID, Event],
        earlier: Mapping[tuple[UUID, str], Event],
        damaged: frozenset[tuple[str, str]],
    ) -> None:
        self.outcomes, self.events, self._unchanged = [], [], {}
        self.read, self.relied_on = False, []
        last, done = dict(newest), dict(earlier)
        for command in self._commands:
            try:
                self.outcomes.append(self._outcome(command, last, done, damaged))
            except ServiceError as refused:
                if isinstance(refused, CredentialNotFoundError):
                    self._rely_on(last.get(_stream(command)))
                # Its traceback refers to this frame, and so to the keys of all commands in the batch.
                self.outcomes.append(refused.with_traceback(None))

    def _outcome(
        self,
        command: AdminCommand,
        last: dict[UUID, Event],
        done: dict[tuple[UUID, str], Event],
        damaged: frozenset[tuple[str, str]],
    ) -> Credential:
        stream, place = _stream(command), (command.tenant_id, command.provider)
        before = done.get((stream, command.meta.command_id))
        if before is not None:
            self._rely_on(before)
            return self._repeated(before, command)
        self._rules.require(command)
        known = last.get(stream)
        state = evolve(known) if known is not None else None
        stored = known is not None and not self._decided(known)
        repair = stored and (place in damaged or known in self._unproved)
        events = decide(state, command, self._clock(), self._sealer, repair=repair)
        for event in events:
            last[stream] = done[stream, command.meta.command_id] = event
            self.events.append(event)
        if not events and known is not None:
            self._rely_on(known)
            if stored:
                self._unchanged[place] = known
        return evolve(last[stream])

    def _rely_on(self, read: Event | None) -> None:
        """Note that an outcome follows from an event that was read, or from there being none."""
        if read is None or not self._decided(read):
            self.read = True
            self.relied_on += [] if read is None else [read]

    def _decided(self, event: Event) -> bool:
        """Whether an event is one of this batch."""
        return any(event is one for one in self.events)

    def _repeated(self, earlier: Event, command: AdminCommand) -> Credential:
        """Return the state after a repeated command. Raises InvalidRequestError if its id was another command's."""
        state = evolve(earlier)
        if isinstance(command, DeleteCredential):
            same = isinstance(earlier, CredentialDeleted)
        else:
            same = isinstance(earlier, CredentialSet) and self._same_set(state, command)
        if not same:
            raise command_reused()
        return state

    def _same_set(self, state: Credential, command: SetCredential) -> bool:
        if state.sealed is None or not command.says(state.config):
            return False
        try:
            return self._sealer.open(state.sealed, state.context) == command.secret
        except ServiceError:
            return state.masked_key == command.secret.masked()  # its encryption key may be retired


class CredentialCommands:
    """Carries out commands."""

    def __init__(
        self,
        log: PresumingLog,
        projection: CurrentCredentials,
        sealer: Sealer,
        clock: Clock,
        pause: Callable[[float], None] = time.sleep,
        spread: Callable[[], float] = random.random,
        elapsed: Callable[[], float] = time.monotonic,
        *,
        registration_required: bool = False,
    ) -> None:
        """Take the parts it works with. pause: waits some seconds. spread: a random factor, 0 to 1, for that time.

        elapsed: seconds since some moment. registration_required: as in `CommandBatch`.
        """
        self._log = log
        self._projection = projection
        self._sealer = sealer
        self._clock = clock
        self._pause = pause
        self._spread = spread
        self._elapsed = elapsed
        self._registration_required = registration_required

    def handle(self, command: AdminCommand) -> Credential:
        """Carry out a command and return the state after it.

        Raises VersionConflictError, CredentialNotFoundError, InvalidRequestError and StoreUnavailableError.
        """
        outcome = self.handle_all([command])[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def handle_all(self, commands: Sequence[AdminCommand], *, sent_before: bool = False) -> list[CommandResult]:
        """Carry out commands in order with one append, and return the outcome of each, as if it had arrived alone.

        sent_before: an earlier attempt may have been stored, so each command id is looked up first.
        """
        try:
            return self._carried_out(commands, sent_before=sent_before)
        except Exception as error:  # noqa: BLE001  the error of one command is not that of the others
            if isinstance(error, ServiceError):
                # Its traceback refers to frames with the keys of all commands; so do those dropped below.
                error.__traceback__ = None
            if len(commands) == 1:
                return [error]
            if isinstance(error, StoreUnavailableError):
                contradicted = error.code == ErrorCode.LOG_CONTRADICTED
                return [StoreUnavailableError(error.reason, contradicted=contradicted) for _ in commands]
        outcomes: list[CommandResult] = []
        for command in commands:
            down = outcomes and isinstance(outcomes[-1], StoreUnavailableError)  # the rest need not wait for that again
            outcomes += [StoreUnavailableError()] if down else self.handle_all([command], sent_before=True)
        return outcomes

    def _carried_out(self, commands: Sequence[AdminCommand], *, sent_before: bool) -> list[CommandResult]:
        failure: ServiceError | None = None
        remembered = False
        began = self._elapsed()
        for attempt in range(ATTEMPTS):
            if attempt and not remembered:
                self._pause(self._spread() * 0.005 * attempt)
            batch = CommandBatch(commands, self._sealer, self._clock, registration_required=self._registration_required)
            batch.decide(self._log, self._projection, sent_before=sent_before or attempt > 0)
            remembered = batch.remembered
            try:
                if batch.events:
                    self._log.append(batch.events, batch.presumed)
                if batch.read:
                    self._log.confirm(batch.relied_on)
            except VersionConflictError as conflict:
                failure = conflict.with_traceback(None)
            except StoreUnavailableError as unavailable:
                # The outcome is unknown. The next attempt looks it up; if that fails as well, or late, give up.
                if isinstance(failure, StoreUnavailableError) or self._elapsed() - began > LOOK_AGAIN_S:
                    raise
                failure = unavailable.with_traceback(None)
            else:
                return batch.outcomes
        raise failure or StoreUnavailableError()


def _stream(command: AdminCommand) -> UUID:
    return stream_id(command.tenant_id, command.provider)


def command_reused() -> InvalidRequestError:
    """Return the error for an idempotency key that was used for another request on this credential."""
    return InvalidRequestError(
        (),
        ErrorCode.IDEMPOTENCY_KEY_REUSED,
        "This Idempotency-Key was used for a different request. Use a fresh key for a new request.",
    )
