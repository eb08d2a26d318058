"""Proof of the audit: checkpoints, inclusion, consistency, and the evidence that a bundle is made of.

Promises: proofs are of RFC 6962, checkpoints of C2SP tlog-checkpoint, so that tools other than ours can verify them;
positions count from 1, the leaf of position n has index n - 1. An export of evidence is recorded, in
the log that it proves, before it is sent.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from starlette.responses import StreamingResponse

from api.front.exchange import AUTHENTICATED, ExchangeOf
from api.front.operation import Operation
from api.front.paths import AUDIT
from api.front.services import ServicesOf
from api.front.validation import only_query
from api.rest.openapi import ADMIN, answer, problems
from api.rest.schemas import POSITION_MAX, Absent, TenantFilter
from domain.errors import ServiceError
from domain.events.personal import Disclosure, to_text
from domain.proofs.proofs import ProvenLeaf, SignedCheckpoint

router = APIRouter(route_class=Operation, prefix=AUDIT, tags=["audit proofs"], dependencies=[AUTHENTICATED])

_HASH = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
_NOTE = (
    "keyledger-0a1b2c3d\n42\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n"
    "\N{EM DASH} keyledger-0a1b2c3d 1n8GkjfX...\n"
)
_LEAF = '{"actor":"alice","position":41,"type":"CredentialSet"}'
_DISCLOSED = {"actor": {"value": "alice", "opening": "AAECAwQFBgcICQoLDA0ODw"}}
_INCLUSION = {
    "position": 41,
    "size": 42,
    "leaf": _LEAF,
    "leaf_hash": _HASH,
    "proof": [_HASH],
    "root": _HASH,
}
_CONSISTENCY = {"from": 41, "to": 42, "from_root": _HASH, "to_root": _HASH, "proof": [_HASH]}
_CHECKPOINT: dict[str, Any] = {
    "description": "A C2SP signed note: origin, size, root, and signatures.",
    "content": {"text/plain": {"schema": {"type": "string"}, "example": _NOTE}},
}
_EVIDENCE: dict[str, Any] = {
    "description": "JSON lines: the checkpoint, then one leaf a line in the order of the log, then the end.",
    "content": {
        "application/jsonl": {
            "schema": {"type": "string"},
            "example": json.dumps({"checkpoint": _NOTE, "size": 42, "tenant_id": None})
            + "\n"
            + json.dumps({"position": 41, "leaf": _LEAF, "hash": _HASH, "proof": [], "disclosed": _DISCLOSED})
            + "\n"
            + json.dumps({"end": 1})
            + "\n",
        }
    },
}
Size = Annotated[
    Annotated[int, Query(ge=0, le=POSITION_MAX)] | Absent, Query(description="Size of the tree; its present one.")
]


class InclusionView(BaseModel):
    """Proof that an entry is in the log. Hashes are in base64."""

    position: int
    size: int
    leaf: str = Field(description="What is hashed, exactly, in UTF-8.")
    leaf_hash: str
    proof: list[str]
    root: str


class ConsistencyView(BaseModel):
    """Proof that a log of one size begins with that of a smaller one. Hashes are in base64."""

    older: int = Field(serialization_alias="from")
    newer: int = Field(serialization_alias="to")
    older_root: str = Field(serialization_alias="from_root")
    newer_root: str = Field(serialization_alias="to_root")
    proof: list[str]


@router.get(
    "/checkpoint",
    operation_id="getCheckpoint",
    summary="A signed checkpoint of the log as it is now",
    response_class=Response,
    response_model=None,
    responses={200: _CHECKPOINT, **problems(*ADMIN, "signing-off", "checkpoint-refused")},
    dependencies=[only_query()],
)
def get_checkpoint(services: ServicesOf) -> Response:
    """Return a checkpoint that covers everything acknowledged before. Keep it: later ones must continue it."""
    return Response(services.transparency.checkpoint().note, media_type="text/plain; charset=utf-8")


@router.get(
    "/proof/inclusion",
    operation_id="getInclusionProof",
    summary="Prove that an entry is in the log",
    responses={200: answer(_INCLUSION), **problems(*ADMIN, "no-such-proof", "credential-integrity")},
    dependencies=[only_query("position", "size")],
)
def get_inclusion_proof(
    services: ServicesOf,
    exchange: ExchangeOf,
    position: Annotated[int, Query(ge=1, le=POSITION_MAX, description="Position in the log, from 1.")],
    size: Size = None,
) -> InclusionView:
    """Return the audit path of a position in the tree of `size` leaves (RFC 6962, 2.1.1)."""
    found = services.transparency.inclusion(position, size)
    services.audit_recorder.read(exchange.meta(""), "proof", None)
    return InclusionView(
        position=found.position,
        size=found.size,
        leaf=found.leaf,
        leaf_hash=_text(found.leaf_hash),
        proof=_texts(found.proof),
        root=_text(found.root),
    )


@router.get(
    "/proof/consistency",
    operation_id="getConsistencyProof",
    summary="Prove that the log only grew",
    responses={200: answer(_CONSISTENCY), **problems(*ADMIN, "no-such-proof", "credential-integrity")},
    dependencies=[only_query("from", "to")],
)
def get_consistency_proof(
    services: ServicesOf,
    older: Annotated[int, Query(alias="from", ge=0, le=POSITION_MAX, description="Size of the smaller tree.")],
    newer: Annotated[
        Annotated[int, Query(ge=0, le=POSITION_MAX)] | Absent,
        Query(alias="to", description="Size of the larger tree; its present one."),
    ] = None,
) -> ConsistencyView:
    """Return the proof between two sizes of the tree (RFC 6962, 2.1.2)."""
    found = services.transparency.consistency(older, newer)
    return ConsistencyView(
        older=found.older,
        newer=found.size,
        older_root=_text(found.older_root),
        newer_root=_text(found.root),
        proof=_texts(found.proof),
    )


@router.get(
    "/evidence",
    operation_id="getEvidence",
    summary="Take the evidence for a bundle",
    response_class=Response,
    response_model=None,
    responses={200: _EVIDENCE, **problems(*ADMIN, "signing-off", "checkpoint-refused")},
    dependencies=[only_query("tenant_id")],
)
def get_evidence(services: ServicesOf, exchange: ExchangeOf, tenant_id: TenantFilter = None) -> Response:
    """Stream a checkpoint and every leaf below it, or those of one tenant, each with its inclusion proof.

    Leaves hold commitments to personal members; `disclosed` holds the values that can still be read.

    `keyledger audit bundle` makes a folder of it that `keyledger audit verify` checks without this service.
    """
    headers = {"Content-Disposition": 'attachment; filename="keyledger-evidence.jsonl"'}
    services.transparency.checkpoint()  # what is refused is not recorded as given
    if exchange.bodiless:
        return StreamingResponse(iter(()), 200, headers, "application/jsonl")
    services.audit_recorder.flush()
    services.audit_recorder.exported(exchange.meta(""), "evidence", f"tenant:{tenant_id}" if tenant_id else None)
    checkpoint = services.transparency.checkpoint()
    leaves = services.transparency.evidence(checkpoint.size, tenant_id)
    return StreamingResponse(_lines(checkpoint, tenant_id, leaves), 200, headers, "application/jsonl")


def _lines(checkpoint: SignedCheckpoint, tenant_id: str | None, leaves: Iterator[ProvenLeaf]) -> Iterator[bytes]:
    """Yield the lines of the evidence. An error in the log is a line too, because the evidence is about it."""
    yield _line({"checkpoint": checkpoint.note, "size": checkpoint.size, "tenant_id": tenant_id})
    count = 0
    try:
        for leaf in leaves:
            stored = None if leaf.stored_hash is None else _text(leaf.stored_hash)
            line = {"position": leaf.position, "leaf": leaf.leaf, "hash": stored, "proof": _texts(leaf.proof)}
            yield _line({**line, "disclosed": {name: _disclosure(value) for name, value in leaf.disclosed.items()}})
            count += 1
    except ServiceError as error:
        yield _line({"fault": {"code": error.code, "detail": error.detail}, "after": count})
        return
    yield _line({"end": count})


def _disclosure(disclosed: Disclosure) -> dict[str, str]:
    return {"value": disclosed.value, "opening": to_text(disclosed.opening)}


def _line(members: dict[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _text(one: bytes) -> str:
    return base64.b64encode(one).decode()


def _texts(hashes: Sequence[bytes]) -> list[str]:
    return [_text(one) for one in hashes]
