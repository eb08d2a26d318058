"""Writes into the log when a provider refuses a credential and when it takes it again, not how often.

Promises: of a credential's version one event tells the first refusal and one the recovery, whichever nodes saw them:
each batch looks at the newest events anew, and a conflict is looked at again. An append whose answer was lost is
recognised by its command id. What was heard is kept until it is stored.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from uuid import UUID, uuid4

from domain.credentials.acceptance import AcceptanceEvent, accept_or_reject, acceptance_stream
from domain.errors import StoreUnavailableError, VersionConflictError
from domain.event import Clock, CommandMeta, CommandSource, Event
from domain.event_log import EventLog

ATTEMPTS = 8
"""Tries for a batch that other nodes outrun."""
BATCH = 1000
"""Credentials that are looked at together."""

Credential = tuple[str, str, int]
"""Tenant, provider and version."""


@dataclass(slots=True)
class Heard:
    """What a provider said of a credential since this was last stored.

    refused: it refused it. request_id: of the first call that was refused, where it is known. accepted: it took it, and
    did not refuse it afterwards.
    """

    refused: bool = False
    request_id: str | None = None
    accepted: bool = False

    def hear(self, *, rejected: bool, request_id: str | None) -> None:
        """Note one more answer, which is a refusal or a success."""
        if rejected and not self.refused:
            self.refused, self.request_id = True, request_id
        self.accepted = not rejected

    def add(self, later: "Heard") -> None:
        """Note what was heard after this."""
        if later.refused:
            self.hear(rejected=True, request_id=later.request_id)
        if later.accepted:
            self.hear(rejected=False, request_id=None)


@dataclass(slots=True)
class _Unstored:
    heard: Heard
    command_id: str


class AcceptanceRecords:
    """What was heard and is not stored yet. For one thread at a time."""

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._unstored: dict[Credential, _Unstored] = {}

    def __len__(self) -> int:
        """Return how many credentials there is something to store of."""
        return len(self._unstored)

    def hear(self, credential: Credential, heard: Heard) -> None:
        """Take what was heard of a credential."""
        known = self._unstored.get(credential)
        if known is None:
            self._unstored[credential] = _Unstored(heard, str(uuid4()))
        else:
            known.heard.add(heard)

    def store(self) -> None:
        """Append the events for what is new. Raises StoreUnavailableError; what is not stored then is kept."""
        while batch := dict(islice(self._unstored.items(), BATCH)):
            self._store(batch)
            for credential in batch:
                del self._unstored[credential]

    def _store(self, batch: Mapping[Credential, _Unstored]) -> None:
        streams = {acceptance_stream(tenant_id, provider) for tenant_id, provider, _ in batch}
        for _ in range(ATTEMPTS):
            events = list(self._events(batch, self._log.newest(list(streams))))
            try:
                if events:
                    self._log.append(events)
            except VersionConflictError:
                continue
            return
        raise StoreUnavailableError

    def _events(self, batch: Mapping[Credential, _Unstored], newest: Mapping[UUID, Event]) -> Iterable[AcceptanceEvent]:
        last = dict(newest)
        for (tenant_id, provider, version), unstored in sorted(batch.items()):
            stream, heard = acceptance_stream(tenant_id, provider), unstored.heard
            if (known := newest.get(stream)) is not None and known.command_id == unstored.command_id:
                continue  # it is there: only the answer was lost
            request_id = heard.request_id or str(uuid4())
            meta = CommandMeta(
                "service", request_id, unstored.command_id, role="service", source=CommandSource.SERVICE.value
            )
            for rejected in [True] * heard.refused + [False] * heard.accepted:
                event = accept_or_reject(
                    last.get(stream), tenant_id, provider, version, rejected=rejected, meta=meta, now=self._clock()
                )
                if event is not None:
                    last[stream] = event
                    yield event
