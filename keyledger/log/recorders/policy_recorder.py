"""Logs the policy and the APPROVALS a service starts with, if they differ from the last ones in the log.

Promises: a change in who may use the global keys, or in what needs a second person, is recorded before it applies.
"""

from collections.abc import Collection

from domain.approvals.needs import Approval
from domain.approvals.setting import APPROVALS_STREAM, change_approvals
from domain.credentials.resolution import ResolutionPolicy
from domain.events.event import Clock, CommandMeta, Event
from domain.events.event_log import EventLog
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


def record_approvals(log: EventLog, named: Collection[Approval], meta: CommandMeta, clock: Clock) -> None:
    """Append what needs a second person if it is new. Raises as `record_policy` does."""

    def changed() -> list[Event]:
        event = change_approvals(log.last(APPROVALS_STREAM), named, meta, clock())
        return [] if event is None else [event]

    append_decided(log, changed)
