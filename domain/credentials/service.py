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

from domain.credentials.command_batch import AdminCommand, CommandBatch, CommandResult
from domain.credentials.credential import Credential
from domain.credentials.secret import Sealer
from domain.credentials.stored import CredentialStatus, CurrentCredentials, Stored
from domain.errors import CredentialNotFoundError, ServiceError, StoreUnavailableError, VersionConflictError
from domain.event import Clock
from domain.event_log import EventLog

ATTEMPTS = 8
"""Tries for commands that other nodes outrun; with eight writers on one credential three are too few."""


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

        Raises VersionConflictError, CredentialNotFoundError, InvalidRequestError and StoreUnavailableError.
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
            if isinstance(fault, ServiceError):
                # It leads to frames that hold it and the keys of all commands; the same goes for tracebacks below.
                fault.__traceback__ = None
            if len(commands) == 1:
                return [fault]
            if isinstance(fault, StoreUnavailableError):
                return [StoreUnavailableError() for _ in commands]
        outcomes: list[CommandResult] = []
        for command in commands:
            down = outcomes and isinstance(outcomes[-1], StoreUnavailableError)  # no other has to wait for that again
            outcomes += [StoreUnavailableError()] if down else self.handle_all([command], sent_before=True)
        return outcomes

    def _carried_out(self, commands: Sequence[AdminCommand], *, sent_before: bool) -> list[CommandResult]:
        failure: ServiceError | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                self._pause(self._spread() * 0.005 * attempt)
            batch = CommandBatch(commands, self._sealer, self._clock)
            batch.decide(self._log, self._view, sent_before=sent_before or attempt > 0)
            try:
                if batch.events:
                    self._log.append(batch.events)
            except VersionConflictError as conflict:
                failure = conflict.with_traceback(None)
            except StoreUnavailableError as unavailable:
                # The outcome is unknown. One look decides it; if the store does not answer that either, say so.
                if isinstance(failure, StoreUnavailableError):
                    raise
                failure = unavailable.with_traceback(None)
            else:
                return batch.outcomes
        raise failure or StoreUnavailableError()

    def get(self, tenant_id: str, provider: str) -> CredentialStatus:
        """Return a live credential. Raises CredentialNotFoundError, CredentialIntegrityError."""
        stored = self._view.read(tenant_id, provider)
        credential = stored.current()
        if credential is None:
            raise CredentialNotFoundError(tenant_id, provider)
        return self._status(credential, stored)

    def of_tenant(self, tenant_id: str) -> list[CredentialStatus]:
        """Return the live credentials of a tenant, by provider. One that is damaged is listed as not readable."""
        return self.statuses(self._view.of_tenant(tenant_id))

    def statuses(self, found: Sequence[Stored]) -> list[CredentialStatus]:
        """Return what was read of a tenant as it is shown. Reads nothing and decrypts nothing."""
        return [self._status(one.shown, one) for one in found if one.shown is not None]

    def _status(self, credential: Credential, stored: Stored) -> CredentialStatus:
        used = stored.last_used_at
        tried = stored.answered or used is not None
        return CredentialStatus(credential, self._opens(stored), stored.rejected, tried, used)

    def _opens(self, stored: Stored) -> bool:
        """Say whether view and log tell the same of a live credential, and it can be opened."""
        try:
            credential = stored.current()
            if credential is None or credential.sealed is None:
                return False
            self._sealer.check(credential.sealed, credential.context)
        except ServiceError:
            return False
        return True
