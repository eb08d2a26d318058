"""Logs the policy a service starts with, if it differs from the last one in the log.

Promises: a change in who may use the global keys is recorded before the service answers a request.
"""

from domain.credentials.resolution import ResolutionPolicy
from domain.errors import VersionConflictError
from domain.event import Clock, CommandMeta
from domain.event_log import EventLog
from domain.operations.policy import POLICY_STREAM, change_policy

_TRIES = 8


def record_policy(log: EventLog, policy: ResolutionPolicy, meta: CommandMeta, clock: Clock) -> None:
    """Append the policy if it is new. Raises StoreUnavailableError, VersionConflictError."""
    for last_try in (False,) * (_TRIES - 1) + (True,):
        event = change_policy(
            log.last(POLICY_STREAM),
            tenant_credentials=policy.tenant_credentials,
            global_fallback="allow" if policy.fallback_allowed else "deny",
            meta=meta,
            now=clock(),
        )
        if event is None:
            return
        try:
            log.append([event])
        except VersionConflictError:  # another service is starting at the same time: read again
            if last_try:
                raise
        else:
            return
