"""Verification of a whole store: log, tree, audit trail, current credentials, bindings, and the kept checkpoint."""

from keyledger.store_verification.findings import Inconsistency, StoreVerdict
from keyledger.store_verification.verification import catch_up, verify_snapshot, verify_store

__all__ = ["Inconsistency", "StoreVerdict", "catch_up", "verify_snapshot", "verify_store"]
