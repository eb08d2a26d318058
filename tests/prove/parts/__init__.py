"""The parts, in the order in which they run."""

from tests.prove.part import Part
from tests.prove.parts import (
    access,
    clock,
    disk,
    disk_errors,
    embedded,
    failover,
    forgeries,
    honest_logs,
    model,
    network,
    poolers,
    size,
    soak,
    unconfirmed,
    versions,
)
from tests.prove.parts.suite import SUITES

PARTS: tuple[Part, ...] = (
    unconfirmed.PART,
    model.PART,
    access.PART,
    failover.PART,
    network.PART,
    poolers.PGBOUNCER,
    poolers.HAPROXY,
    embedded.PART,
    disk.PART,
    disk_errors.PART,
    clock.PART,
    versions.PART,
    forgeries.PART,
    honest_logs.PART,
    soak.PART,
    size.PART,
    *SUITES,
)
