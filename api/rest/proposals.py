"""Proposals: list, show, approve, reject. They are made by sending a command to its own route.

Promises: a 200 to an approval means that the command is carried out and every node obeys it; after any other answer
but 503 it was not. No one approves a proposal of their own; anyone who may decide may reject, also their own.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.front.exchange import AUTHENTICATED
from api.front.operation import Operation
from api.front.paths import PROPOSALS
from api.front.services import Services, ServicesOf
from api.front.validation import no_body, only_query
from api.rest.next_page import link_next
from api.rest.openapi import ADMIN, BODY, ETAG, answer, problems
from api.rest.preconditions import CommandMetaOf, PreconditionOf, entity_tag
from api.rest.proposal_shapes import (
    APPROVED_EXAMPLE,
    PROPOSAL_EXAMPLE,
    PROPOSALS_EXAMPLE,
    REJECTED_EXAMPLE,
    ProposalId,
    ProposalPage,
    ProposalState,
    ProposalView,
    view_of,
)
from api.rest.schemas import Absent, After, Limit, TenantFilter
from domain.approvals.listed import KnownProposal, ProposalFilter
from domain.approvals.needs import Approval

router = APIRouter(route_class=Operation, prefix=PROPOSALS, tags=["proposals"], dependencies=[AUTHENTICATED])

_DECIDING = (
    *("malformed-header", "version-conflict", "proposal-not-found", "proposal-decided", "proposal-lapsed"),
    *("credential-integrity", "idempotency-key-reused"),
)


@router.get(
    "",
    operation_id="listProposals",
    summary="List the proposals",
    responses={200: answer(PROPOSALS_EXAMPLE), **problems(*ADMIN, "credential-integrity")},
    dependencies=[only_query("proposal_state", "command", "tenant_id", "limit", "after")],
)
async def list_proposals(
    *,
    services: ServicesOf,
    request: Request,
    response: Response,
    proposal_state: Annotated[ProposalState | Absent, Query(description="Only those in this state.")] = None,
    command: Annotated[Approval | Absent, Query(description="Only those of this command.")] = None,
    tenant_id: TenantFilter = None,
    after: After = 0,
    limit: Limit = 100,
) -> ProposalPage:
    """List proposals in the order in which they were made. With a filter a page may be short before the end."""
    wanted = ProposalFilter(after, limit, tenant_id, command, proposal_state)
    found, following = await run_in_threadpool(services.proposals.page, wanted)
    link_next(request, response, following)
    return ProposalPage(proposals=[view_of(one, services.clock) for one in found], next=following)


@router.get(
    "/{proposal_id}",
    operation_id="getProposal",
    summary="Show a proposal",
    responses={200: answer(PROPOSAL_EXAMPLE, ETAG), **problems(*ADMIN, "proposal-not-found", "credential-integrity")},
    dependencies=[only_query()],
)
async def get_proposal(proposal_id: ProposalId, services: ServicesOf, response: Response) -> ProposalView:
    """Show what is proposed, by whom, and what became of it."""
    return _tagged(await run_in_threadpool(services.proposals.show, proposal_id), services, response)


@router.post(
    "/{proposal_id}/approve",
    operation_id="approveProposal",
    summary="Approve a proposal, which carries it out",
    responses={
        200: answer(APPROVED_EXAMPLE, ETAG),
        **problems(*ADMIN, *BODY, *_DECIDING, "own-proposal", "key-not-retirable", "tenant-frozen"),
    },
    dependencies=[only_query(), Depends(no_body)],
)
async def approve_proposal(
    *,
    proposal_id: ProposalId,
    meta: CommandMetaOf,
    precondition: PreconditionOf,
    services: ServicesOf,
    response: Response,
) -> ProposalView:
    """Carry out the command, in the name of the caller who proposed it, if nothing it is about changed since."""
    proposals = services.proposals
    known = await run_in_threadpool(proposals.show, proposal_id)
    if known.proposal.command == Approval.RETIRE:  # it looks at every credential again: the others are not to wait
        approved = await run_in_threadpool(proposals.approve, proposal_id, meta, precondition)
    else:
        approved = await services.carry_out_alone(lambda: proposals.approve(proposal_id, meta, precondition))
    return _tagged(approved, services, response)


@router.post(
    "/{proposal_id}/reject",
    operation_id="rejectProposal",
    summary="Reject or withdraw a proposal",
    responses={200: answer(REJECTED_EXAMPLE, ETAG), **problems(*ADMIN, *BODY, *_DECIDING)},
    dependencies=[only_query(), Depends(no_body)],
)
async def reject_proposal(
    *,
    proposal_id: ProposalId,
    meta: CommandMetaOf,
    precondition: PreconditionOf,
    services: ServicesOf,
    response: Response,
) -> ProposalView:
    """End a proposal. Nothing is carried out."""
    known = await services.carry_out_alone(lambda: services.proposals.reject(proposal_id, meta, precondition))
    return _tagged(known, services, response)


def _tagged(known: KnownProposal, services: Services, response: Response) -> ProposalView:
    response.headers["ETag"] = entity_tag(known.proposal.version)
    return view_of(known, services.clock)
