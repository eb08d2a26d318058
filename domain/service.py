"""Commands on credentials, from a checked request to a stored event.

Promises: when `handle` returns, the change is stored and every node obeys it; a command id happens once, however often
and however brokenly it is sent; a lost answer of the database is recognised, not repeated. Commands that come together
are decided in their order, each as if it had come alone, and stored with one append.
Refuses: what `providers.check` and `credential.decide` refuse. A crash at any point leaves either no event or the
event with its view row.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from domain.credential import (
    Credential,
    CredentialDeleted,
    CredentialSet,
    DeleteCredential,
    SetCredential,
    decide,
    evolve,
    stream_id,
)
from domain.errors import CommandReused, CredentialNotFound, ServiceError, StoreUnavailable, VersionConflict
from domain.event import Event
from domain.ports import Clock, CurrentCredentials, EventLog, Sealer
from domain.resolution import Stored

AdminCommand = SetCredential | DeleteCredential
"""What an administrator may ask for."""

CommandResult = Credential | Exception
"""What became of a command: the state after it, or why there is none."""

ATTEMPTS = 8
"""Tries for commands that other nodes outrun; with eight writers on one credential three are too few."""


class CredentialState(StrEnum):
    """Whether a credential works, as far as is known. One that was rejected is still tried: the provider decides."""

    IN_ORDER = "in-order"
    REJECTED = "credential-rejected"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class CredentialStatus:
    """A live credential, whether it can be opened, and whether the provider refused it at this version."""

    credential: Credential
    readable: bool
    rejected: bool = False

    @property
    def state(self) -> CredentialState:
        """What a list says of it in one word."""
        if not self.readable:
            return CredentialState.UNREADABLE
        return CredentialState.REJECTED if self.rejected else CredentialState.IN_ORDER


class CredentialService:
    """The write side and the administrators' reads."""

    def __init__(
        self,
        log: EventLog,
        view: CurrentCredentials,
        sealer: Sealer,
        clock: Clock,
        pause: Callable[[float], None] = time.sleep,
        spread: Callable[[], float] = random.random,
    ) -> None:
        """pause, spread: how rivals for one credential keep out of each other's way, in seconds and from 0 to 1."""
        self._log = log
        self._view = view
        self._sealer = sealer
        self._clock = clock
        self._pause = pause
        self._spread = spread

    def handle(self, command: AdminCommand) -> Credential:
        """Carry out a command and return the state after it.

        Raises VersionConflict, CredentialNotFound, CommandReused and StoreUnavailable.
        """
        outcome = self.handle_all([command])[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def handle_all(self, commands: Sequence[AdminCommand], *, sent_before: bool = False) -> list[CommandResult]:
        """Carry out commands in their order with one append, and return what became of each, as if it had come alone.

        sent_before: an earlier try may have been stored, so each is looked for first.
        """
        try:
            return self._carried_out(commands, sent_before=sent_before)
        except Exception as fault:  # noqa: BLE001  the fault of one is not that of the others
            if len(commands) == 1:
                return [fault]
            if isinstance(fault, StoreUnavailable):
                return [StoreUnavailable() for _ in commands]
        outcomes: list[CommandResult] = []
        for command in commands:
            down = outcomes and isinstance(outcomes[-1], StoreUnavailable)  # no other has to wait for that again
            outcomes += [StoreUnavailable()] if down else self.handle_all([command], sent_before=True)
        return outcomes

    def _carried_out(self, commands: Sequence[AdminCommand], *, sent_before: bool) -> list[CommandResult]:
        failure: ServiceError | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                self._pause(self._spread() * 0.005 * attempt)
            outcomes, events = self._decided(commands, sent_before=sent_before or attempt > 0)
            try:
                if events:
                    self._log.append(events)
            except VersionConflict as conflict:
                failure = conflict
            except StoreUnavailable as unavailable:
                # The outcome is unknown. One look decides it; if the store does not answer that either, say so.
                if isinstance(failure, StoreUnavailable):
                    raise
                failure = unavailable
            else:
                return outcomes
        raise failure or StoreUnavailable()

    def _decided(
        self, commands: Sequence[AdminCommand], *, sent_before: bool
    ) -> tuple[list[CommandResult], list[Event]]:
        """Return what becomes of each command once the events are stored, and the events. Raises StoreUnavailable."""
        last = dict(self._log.newest([stream_id(command.tenant_id, command.provider) for command in commands]))
        outcomes: list[CommandResult] = []
        events: list[Event] = []
        for command in commands:
            stream = stream_id(command.tenant_id, command.provider)
            try:
                earlier = self._earlier(stream, command, events, sent_before=sent_before)
                if earlier is not None:
                    outcomes.append(self._repeated(earlier, command))
                    continue
                decided = self._events_of(command, last.get(stream), events)
            except StoreUnavailable:
                raise
            except ServiceError as refused:
                outcomes.append(refused)
                continue
            if decided:
                last[stream] = decided[-1]
                events += decided
            outcomes.append(evolve(last[stream]))
        return outcomes, events

    def _earlier(
        self, stream: UUID, command: AdminCommand, events: Sequence[Event], *, sent_before: bool
    ) -> Event | None:
        """Return what the same command led to before, here or in the log."""
        if not sent_before and not command.meta.may_repeat:
            return None
        for event in events:
            if event.originator_id == stream and event.command_id == command.meta.command_id:
                return event
        return self._log.find(stream, command.meta.command_id)

    def _events_of(self, command: AdminCommand, last: Event | None, events: Sequence[Event]) -> Sequence[Event]:
        state = evolve(last) if last else None
        decided = decide(state, command, self._clock(), self._sealer)
        if decided or last is None or last in events:
            return decided
        if self._view.read(command.tenant_id, command.provider) == Stored.of(last):
            return decided
        return decide(state, command, self._clock(), self._sealer, mend=True)

    def get(self, tenant_id: str, provider: str) -> CredentialStatus:
        """Return a live credential. Raises CredentialNotFound, CredentialIntegrityError."""
        stored = self._view.read(tenant_id, provider)
        credential = stored.current()
        if credential is None:
            raise CredentialNotFound(tenant_id, provider)
        return self._status(credential, stored, intact=True)

    def of_tenant(self, tenant_id: str) -> list[CredentialStatus]:
        """Return the live credentials of a tenant, by provider. One that is damaged is listed as not readable."""
        return self.statuses(self._view.of_tenant(tenant_id))

    def statuses(self, found: Sequence[Stored]) -> list[CredentialStatus]:
        """Return what was read of a tenant as it is shown. Reads nothing and decrypts nothing."""
        return [self._status(one.shown, one, intact=_intact(one)) for one in found if one.shown is not None]

    def _status(self, credential: Credential, stored: Stored, *, intact: bool) -> CredentialStatus:
        sealed = credential.sealed
        if not intact or sealed is None:
            return CredentialStatus(credential, readable=False, rejected=stored.rejected)
        try:
            self._sealer.check(sealed, credential.context)
        except ServiceError:
            return CredentialStatus(credential, readable=False, rejected=stored.rejected)
        return CredentialStatus(credential, readable=True, rejected=stored.rejected)

    def _repeated(self, earlier: Event, command: AdminCommand) -> Credential:
        """Answer a command that already happened, when it is the same command."""
        state = evolve(earlier)
        if isinstance(command, DeleteCredential):
            same = isinstance(earlier, CredentialDeleted)
        else:
            same = isinstance(earlier, CredentialSet) and self._same_set(state, command)
        if not same:
            raise CommandReused
        return state

    def _same_set(self, state: Credential, command: SetCredential) -> bool:
        if state.sealed is None or state.config != command.config:
            return False
        try:
            return self._sealer.open(state.sealed, state.context) == command.secret
        except ServiceError:
            return state.masked_key == command.secret.masked()  # its encryption key may be retired


def _intact(stored: Stored) -> bool:
    try:
        return stored.current() is not None
    except ServiceError:
        return False
