"""Logs the policy a service starts with, if it differs from the last one in the log.

Promises: a change in who may use the global keys is recorded before the service answers a request.
"""

from domain.credentials.resolution import ResolutionPolicy
from domain.event import Clock, CommandMeta, Event
from domain.event_log import EventLog
from domain.operations.policy import POLICY_STREAM, change_policy
from keyledger.log.decided_append import append_decided


def record_policy(log: EventLog, policy: ResolutionPolicy, meta: CommandMeta, clock: Clock) -> None:
    """Append the policy if it is new. Raises StoreUnavailableError, VersionConflictError."""

    def changed() -> list[Event]:
        event = change_policy(
            log.last(POLICY_STREAM),
            tenant_credentials=policy.tenant_credentials,
            global_fallback="allow" if policy.fallback_allowed else "deny",
            meta=meta,
            now=clock(),
        )
        return [] if event is None else [event]

    append_decided(log, changed)
