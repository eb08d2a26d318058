"""The audit trail in memory."""

import json
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from domain.audit.entries import OF_A_CREDENTIAL, AuditEntry, AuditFilter, Details, FoundEntries, action_of, facts_of
from domain.audit.request_events import Outcome
from domain.events.event import Event
from tests.support.twins.log import MemoryLog


class MemoryAuditTrail:
    """Implements `domain.audit.entries.AuditTrail` on a log."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    def page(self, wanted: AuditFilter) -> FoundEntries:
        self._log.answer()
        fitting = [row for row in self._entries() if _fits(row, wanted)]
        found = (fitting[::-1] if wanted.newest_first else fitting)[: wanted.limit]
        return FoundEntries(found, found[-1].position if len(found) == wanted.limit else None)

    def _entries(self) -> Iterator[AuditEntry]:
        last: dict[UUID, str] = {}
        for position, event in enumerate(self._log.events, start=1):
            yield self._entry(position, event, last.get(event.originator_id))
            last[event.originator_id] = event.TOPIC

    def _entry(self, position: int, event: Event, earlier: str | None) -> AuditEntry:
        """earlier: the topic of the event before it in its stream."""
        facts = facts_of(event)
        return AuditEntry(
            position=position,
            timestamp=event.timestamp,
            action=action_of(event, earlier),
            outcome=Outcome(facts.outcome),
            tenant_id=facts.tenant_id,
            provider=facts.provider,
            version=event.originator_version,
            actor=event.actor,
            role=event.role,
            source=event.source,
            client_address=event.client_address,
            reason=event.reason,
            request_id=event.request_id,
            command_id=event.command_id,
            causation_id=event.causation_id,
            node_time=datetime.fromisoformat(event.node_time),
            masked_key=facts.masked_key,
            key_id=facts.key_id,
            fingerprint=facts.fingerprint,
            details=facts.details,
        )


def _fits(row: AuditEntry, wanted: AuditFilter) -> bool:
    return (
        row.position > wanted.after
        and (wanted.before is None or row.position < wanted.before)
        and wanted.action in {None, row.action}
        and wanted.outcome in {None, row.outcome}
        and wanted.key_id in {None, row.key_id}
        and wanted.fingerprint in {None, row.fingerprint}
        and (not wanted.of_credential or row.action in OF_A_CREDENTIAL)
        and all(text.lower() in _text(row) for text in wanted.texts)
        and (wanted.reason is None or wanted.reason.lower() in (row.reason or "").lower())
        and wanted.tenant_id in {None, row.tenant_id}
        and wanted.provider in {None, row.provider}
        and wanted.actor in {None, row.actor}
        and (wanted.since is None or row.timestamp >= wanted.since)
        and (wanted.until is None or row.timestamp < wanted.until)
    )


def _text(row: AuditEntry) -> str:
    """Return the values of an entry that a text search looks into, in lower case."""
    values = (
        *(row.action, row.actor, row.role, row.source, row.client_address, row.reason, row.request_id, row.command_id),
        *(row.tenant_id, row.provider, row.masked_key, row.key_id, row.fingerprint, _as_jsonb(row.details)),
    )
    return " ".join(value for value in values if value is not None).lower()


def _as_jsonb(details: Details) -> str:
    """Return details in the spelling of PostgreSQL's jsonb: shorter names first."""
    return json.dumps({name: details[name] for name in sorted(details, key=lambda name: (len(name), name))})
