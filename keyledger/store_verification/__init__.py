"""Verification of a whole store: log, tree, audit trail, current credentials, bindings, and the kept checkpoint."""

from keyledger.store_verification.findings import StoreFault, StoreVerdict
from keyledger.store_verification.verification import verify_snapshot, verify_store

__all__ = ["StoreFault", "StoreVerdict", "verify_snapshot", "verify_store"]
