"""Logs a credential's first rejection by its provider and its first success afterwards; repeats are not logged.

Promises: each version of a credential gets one event for the rejection and one for the recovery, whichever nodes saw
them: every batch reads the newest events first, and reads them again after a conflict. An append whose answer was lost
is recognised by its command id. Answers are kept until they are stored; a rejection soon after a recovery waits, so
that a provider that changes its mind all the time does not fill the log.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from uuid import UUID, uuid4

from domain.credentials.acceptance import AcceptanceEvent, accept_or_reject, acceptance_stream, rests
from domain.errors import StoreUnavailableError, VersionConflictError
from domain.events.event import Clock, CommandMeta, CommandSource, Event
from domain.events.event_log import EventLog
from keyledger.log.decided_append import append_decided

BATCH = 1000
"""Credentials in a batch."""

Credential = tuple[str, str, int]
"""Tenant, provider and version."""


@dataclass(slots=True)
class Heard:
    """A provider's answers about a credential that are not yet stored.

    refused: the provider rejected it. request_id: of the first rejected call, if known. accepted: the provider accepted
    it and has not rejected it since.
    """

    refused: bool = False
    request_id: str | None = None
    accepted: bool = False

    def hear(self, *, rejected: bool, request_id: str | None) -> None:
        """Add one answer, a rejection or a success."""
        if rejected and not self.refused:
            self.refused, self.request_id = True, request_id
        self.accepted = not rejected

    def add(self, later: "Heard") -> None:
        """Add later answers."""
        if later.refused:
            self.hear(rejected=True, request_id=later.request_id)
        if later.accepted:
            self.hear(rejected=False, request_id=None)


@dataclass(slots=True)
class _Unstored:
    heard: Heard
    command_id: str
    resting: bool = False


class AcceptanceRecorder:
    """Answers that are not yet stored, by credential. Not thread-safe."""

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._unstored: dict[Credential, _Unstored] = {}

    def __len__(self) -> int:
        """Return the number of credentials with answers that can be stored now."""
        return sum(not unstored.resting for unstored in self._unstored.values())

    def hear(self, credential: Credential, heard: Heard) -> None:
        """Add the answers about a credential."""
        known = self._unstored.get(credential)
        if known is None:
            self._unstored[credential] = _Unstored(heard, str(uuid4()))
        else:
            known.heard.add(heard)
            known.resting = False

    def store(self) -> None:
        """Append the events for new answers. Raises StoreUnavailableError; answers not yet stored are kept."""
        credentials = iter(list(self._unstored))
        while batch := {credential: self._unstored[credential] for credential in islice(credentials, BATCH)}:
            self._store(batch)
            for credential, unstored in batch.items():
                if not unstored.resting:
                    del self._unstored[credential]

    def _store(self, batch: Mapping[Credential, _Unstored]) -> None:
        streams = {acceptance_stream(tenant_id, provider) for tenant_id, provider, _ in batch}
        try:
            append_decided(self._log, lambda: list(self._events(batch, self._log.newest(list(streams)))))
        except VersionConflictError:  # the answers are kept, so the next call tries again
            raise StoreUnavailableError from None

    def _events(self, batch: Mapping[Credential, _Unstored], newest: Mapping[UUID, Event]) -> Iterable[AcceptanceEvent]:
        last = dict(newest)
        for (tenant_id, provider, version), unstored in sorted(batch.items()):
            stream, heard = acceptance_stream(tenant_id, provider), unstored.heard
            if (known := newest.get(stream)) is not None and known.command_id == unstored.command_id:
                continue  # it is stored: only the answer was lost
            now = self._clock()
            unstored.resting = heard.refused and rests(last.get(stream), version, now)
            if unstored.resting:
                continue
            request_id = heard.request_id or str(uuid4())
            meta = CommandMeta(
                "service", request_id, unstored.command_id, role="service", source=CommandSource.SERVICE.value
            )
            for rejected in [True] * heard.refused + [False] * heard.accepted:
                event = accept_or_reject(
                    last.get(stream), tenant_id, provider, version, rejected=rejected, meta=meta, now=now
                )
                if event is not None:
                    last[stream] = event
                    yield event
