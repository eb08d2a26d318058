"""Verification of a whole store: log, tree, audit trail, current credentials, bindings, and the kept checkpoint."""

from keyledger.store_verification.findings import Inconsistency, StoreVerdict
from keyledger.store_verification.verification import verify_snapshot, verify_store

__all__ = ["Inconsistency", "StoreVerdict", "verify_snapshot", "verify_store"]
