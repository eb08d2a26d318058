"""The bounds, by the names that metrics and documents use."""

from enum import StrEnum


class Bound(StrEnum):
    """A bound that a caller can reach."""

    CONNECTIONS = "connections"
    ADDRESS_CONNECTIONS = "address-connections"
    KEY_CONNECTIONS = "key-connections"
    CALLS = "calls"
    TENANT_CALLS = "tenant-calls"
    PROVIDER_CALLS = "provider-calls"
    KEY_RATE = "key-rate"
    TENANT_RATE = "tenant-rate"
    PROVIDER_RATE = "provider-rate"
    KEY_BODIES = "key-bodies"
    BODIES = "bodies"
    READER = "reader"
