"""Bundles of evidence over a log that is signed."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from domain.audit.record import decode_record
from domain.proofs.checkpoint import Checkpoint
from domain.proofs.merkle_tree import inclusion_proof, leaf_hash
from domain.proofs.signed_note import SignedNote
from domain.proofs.tiles import TileBuilder, TileHashes
from keyledger.evidence import FullBundleWriter, ProvenLeaf, TenantBundleWriter
from keyledger.proofs.signing_keys import LogSigner, generate_signing_key
from tests.support.audit_records import ANNA

LOG = LogSigner(generate_signing_key("log.example"))


def signed(leaves: Sequence[bytes], signer: LogSigner = LOG) -> bytes:
    """The checkpoint over some leaves."""
    builder = TileBuilder()
    builder.complete(map(leaf_hash, leaves))
    return SignedNote(Checkpoint(signer.name, len(leaves), builder.root()).text).signed_by(signer).render()


def full_bundle(folder: Path, leaves: Sequence[bytes], signer: LogSigner = LOG) -> Path:
    """A full bundle of some leaves."""
    FullBundleWriter(folder).write(leaves, signed(leaves, signer))
    return folder


def proven(leaves: Sequence[bytes], tenant: str) -> Iterable[ProvenLeaf]:
    """The leaves of a tenant with their proofs."""
    builder = TileBuilder()
    rows = builder.append(map(leaf_hash, leaves))
    tiles = {(row.tile.level, row.tile.index): row.hashes for row in rows}
    reader = TileHashes(len(leaves), lambda wanted: [tiles[tile.level, tile.index] for tile in wanted])
    for index, leaf in enumerate(leaves):
        if decode_record(leaf).tenant_id == tenant:
            yield ProvenLeaf(leaf, inclusion_proof(index, len(leaves), reader))


def tenant_bundle(folder: Path, leaves: Sequence[bytes], tenant: str = ANNA) -> Path:
    """A bundle of one tenant's records among some leaves."""
    TenantBundleWriter(folder).write(tenant, proven(leaves, tenant), signed(leaves))
    return folder
