"""Upcasters: functions that turn the stored members of an older event into those of the next class version.

Promises: the log is never rewritten; an event of any released version is read as if it had been stored today. Golden
files hold the bytes of each version.
"""

from domain.event_definition import Members

UNKNOWN = "unknown"
"""The role or source of an event that was stored before these were recorded."""


def with_provenance(members: Members) -> Members:
    """Add the role, source, client address and reason, which version 1 did not record."""
    return {**members, "role": UNKNOWN, "source": UNKNOWN, "client_address": None, "reason": None}


def with_fingerprint(members: Members) -> Members:
    """Add the provenance and the fingerprint, which version 1 did not record."""
    return {**with_provenance(members), "fingerprint": None}
