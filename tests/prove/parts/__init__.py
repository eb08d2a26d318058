"""The parts, in the order in which they run."""

from tests.prove.part import Part
from tests.prove.parts import disk, disk_errors, embedded, failover, network, poolers, unconfirmed
from tests.prove.parts.suite import SUITES

PARTS: tuple[Part, ...] = (
    unconfirmed.PART,
    failover.PART,
    network.PART,
    poolers.PGBOUNCER,
    poolers.HAPROXY,
    embedded.PART,
    disk.PART,
    disk_errors.PART,
    *SUITES,
)
