"""Examines a deployment from outside and reports what is wrong with it, even when much of it does not work.

Promises: nothing is changed or started, no model is called, and no running service is needed. Checks are independent,
so one that fails is a finding like any other. No finding contains a secret. The checks, in the order of the report:
settings, database, pooler, encryption keys, anchors, catalogue, endpoints, issuers, clock, disk, port, file modes,
memory, start-up code, peers.
"""

from collections.abc import Callable, Iterator, Sequence

from keyledger.doctor import (
    anchors,
    catalogue,
    clock,
    database,
    disk,
    encryption_keys,
    endpoints,
    file_modes,
    issuers,
    memory,
    peers,
    pooler,
    port,
    settings,
    startup_code,
)
from keyledger.doctor.circumstances import Circumstances, circumstances
from keyledger.doctor.finding import Finding, State, isolated

__all__ = ["CHECKS", "Circumstances", "Finding", "State", "circumstances", "examine"]

CHECKS: Sequence[tuple[str, Callable[[Circumstances], Iterator[Finding]]]] = [
    (check.SUBJECT, check.look)
    for check in (
        settings,
        database,
        pooler,
        encryption_keys,
        anchors,
        catalogue,
        endpoints,
        issuers,
        clock,
        disk,
        port,
        file_modes,
        memory,
        startup_code,
        peers,
    )
]


def examine(here: Circumstances) -> Sequence[Finding]:
    """Return the findings of every check, in order."""
    findings: list[Finding] = []
    for subject, look in CHECKS:
        with isolated(subject, findings):
            for finding in look(here):
                findings.append(finding)  # noqa: PERF402  findings made before a check failed are kept
    return findings
