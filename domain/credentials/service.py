"""Carries out commands on credentials: from a checked request to a stored event.

Promises: when `handle` returns, the change is stored and applies on every node. A command takes effect once, however
often its id is sent; when the answer of the database is lost, the stored event is found and not written again. Commands
that arrive together are decided in order, each as if it had arrived alone, and stored with one append.
Refuses: commands that `providers.check` or `credential.decide` refuses. A crash at any point leaves either no event or
the event with its row of the projection.
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
"""Attempts to store a command despite conflicts. Three are too few for eight writers of one credential."""


class CredentialService:
    """Carries out commands, and reads credentials for administrators."""

    def __init__(
        self,
        log: EventLog,
        projection: CurrentCredentials,
        sealer: Sealer,
        clock: Clock,
        pause: Callable[[float], None] = time.sleep,
        spread: Callable[[], float] = random.random,
    ) -> None:
        """Take the parts it works with. pause: waits some seconds. spread: a random factor, 0 to 1, for that time."""
        self._log = log
        self._projection = projection
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
        """Carry out commands in order with one append, and return the outcome of each, as if it had arrived alone.

        sent_before: an earlier attempt may have been stored, so each command id is looked up first.
        """
        try:
            return self._carried_out(commands, sent_before=sent_before)
        except Exception as fault:  # noqa: BLE001  the error of one command is not that of the others
            if isinstance(fault, ServiceError):
                # Its traceback refers to frames with the keys of all commands; so do those dropped below.
                fault.__traceback__ = None
            if len(commands) == 1:
                return [fault]
            if isinstance(fault, StoreUnavailableError):
                return [StoreUnavailableError() for _ in commands]
        outcomes: list[CommandResult] = []
        for command in commands:
            down = outcomes and isinstance(outcomes[-1], StoreUnavailableError)  # the rest need not wait for that again
            outcomes += [StoreUnavailableError()] if down else self.handle_all([command], sent_before=True)
        return outcomes

    def _carried_out(self, commands: Sequence[AdminCommand], *, sent_before: bool) -> list[CommandResult]:
        failure: ServiceError | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                self._pause(self._spread() * 0.005 * attempt)
            batch = CommandBatch(commands, self._sealer, self._clock)
            batch.decide(self._log, self._projection, sent_before=sent_before or attempt > 0)
            try:
                if batch.events:
                    self._log.append(batch.events)
            except VersionConflictError as conflict:
                failure = conflict.with_traceback(None)
            except StoreUnavailableError as unavailable:
                # The outcome is unknown. The next attempt looks it up; if that fails as well, give up.
                if isinstance(failure, StoreUnavailableError):
                    raise
                failure = unavailable.with_traceback(None)
            else:
                return batch.outcomes
        raise failure or StoreUnavailableError()

    def get(self, tenant_id: str, provider: str) -> CredentialStatus:
        """Return a live credential. Raises CredentialNotFoundError, CredentialIntegrityError."""
        stored = self._projection.read(tenant_id, provider)
        credential = stored.current()
        if credential is None:
            raise CredentialNotFoundError(tenant_id, provider)
        return self._status(credential, stored)

    def of_tenant(self, tenant_id: str) -> list[CredentialStatus]:
        """Return the live credentials of a tenant, by provider. A damaged one is listed as unreadable."""
        return self.statuses(self._projection.of_tenant(tenant_id))

    def statuses(self, found: Sequence[Stored]) -> list[CredentialStatus]:
        """Return the status of each live credential among those read. Reads and decrypts nothing."""
        return [self._status(one.shown, one) for one in found if one.shown is not None]

    def _status(self, credential: Credential, stored: Stored) -> CredentialStatus:
        used = stored.last_used_at
        tried = stored.answered or used is not None
        return CredentialStatus(credential, self._opens(stored), stored.rejected, tried, used)

    def _opens(self, stored: Stored) -> bool:
        """Return whether projection and log agree on a live credential and it can be opened."""
        try:
            credential = stored.current()
            if credential is None or credential.sealed is None:
                return False
            self._sealer.check(credential.sealed, credential.context)
        except ServiceError:
            return False
        return True
