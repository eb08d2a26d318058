"""Evidence for auditors: the audit log, or a part of it, in folders that can be verified offline.

    FullBundleWriter     the whole log, as static tiles
    TenantBundleWriter   one tenant's records with their inclusion proofs
    verify_bundle        checks either kind, without service, database or `ENCRYPTION_KEY`
    Witness              remembers the last checkpoint it saw and cosigns those that extend it

Nothing here imports the service: all it needs is `domain`, `keyledger.proofs.signing_keys` and
`keyledger.log.durable_file`. A quicker reader of records (`keyledger.quick_records`) is passed in, never imported.
"""

from keyledger.evidence.errors import EvidenceError
from keyledger.evidence.full_bundle import FullBundleWriter
from keyledger.evidence.history import Decode
from keyledger.evidence.tenant_bundle import ProvenLeaf, TenantBundleWriter
from keyledger.evidence.verification import Verdict, verify_bundle
from keyledger.evidence.witness import Witness

__all__ = [
    "Decode",
    "EvidenceError",
    "FullBundleWriter",
    "ProvenLeaf",
    "TenantBundleWriter",
    "Verdict",
    "Witness",
    "verify_bundle",
]
