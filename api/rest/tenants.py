"""Tenants for the operator: name and labels, policy, freezing and thawing.

Promises: a 2xx means that the change is stored and every node obeys it. Freezing a frozen tenant, and every other
command that changes nothing, succeeds with `"changed": false` and leaves no event. Reads and the audit of a frozen
tenant continue.
"""

from fastapi import APIRouter, Depends, Response
from starlette.concurrency import run_in_threadpool

from api.front.exchange import AUTHENTICATED
from api.front.paths import SYSADMIN
from api.front.services import ServicesOf
from api.front.validation import no_body, only_query
from api.rest.openapi import ADMIN, BODY, ETAG, TENANT, answer, problems
from api.rest.preconditions import CommandMetaOf, PreconditionOf, entity_tag
from api.rest.proposable import HELD, Proposable
from api.rest.schemas import TenantId
from api.rest.tenant_shapes import (
    FROZEN_EXAMPLE,
    POLICY_ANSWER_EXAMPLE,
    TENANT_EXAMPLE,
    ChangedTenantRecord,
    TenantBody,
    TenantPolicyAnswer,
    TenantPolicyBody,
    TenantRecord,
    changed_record_of,
    policy_answer,
    record_of,
)
from domain.access.tenants import ChangedTenant
from domain.tenants.tenant import Profile

router = APIRouter(route_class=Proposable, prefix=SYSADMIN, tags=["tenants"], dependencies=[AUTHENTICATED])

_CHANGED = {**TENANT_EXAMPLE, "changed": True}


@router.get(
    "",
    operation_id="getTenant",
    summary="Show a tenant",
    responses={200: answer(TENANT_EXAMPLE, ETAG), **problems(*ADMIN, "credential-integrity")},
    dependencies=[only_query()],
)
async def get_tenant(tenant_id: TenantId, services: ServicesOf, response: Response) -> TenantRecord:
    """Show name, labels, policy and whether the tenant is frozen, with its version as ETag. Any UUID is a tenant."""
    known = await run_in_threadpool(services.tenants.show, tenant_id)
    response.headers["ETag"] = entity_tag(known.tenant.version)
    return record_of(known)


@router.put(
    "",
    operation_id="registerTenant",
    summary="Register a tenant, or change its name and labels",
    responses={200: answer(_CHANGED, ETAG), **problems(*ADMIN, *BODY, *TENANT)},
    dependencies=[only_query()],
)
async def register_tenant(
    *,
    tenant_id: TenantId,
    body: TenantBody,
    meta: CommandMetaOf,
    precondition: PreconditionOf,
    services: ServicesOf,
    response: Response,
) -> ChangedTenantRecord:
    """Store name and labels in place of the former ones."""
    profile = Profile(body.name, body.labels)
    outcome = await services.carry_out_alone(lambda: services.tenants.register(tenant_id, profile, meta, precondition))
    return _answered(outcome, response)


@router.get(
    "/policy",
    operation_id="getTenantPolicy",
    summary="Show the policy of a tenant",
    responses={200: answer(POLICY_ANSWER_EXAMPLE, ETAG), **problems(*ADMIN, "credential-integrity")},
    dependencies=[only_query()],
)
async def get_tenant_policy(tenant_id: TenantId, services: ServicesOf, response: Response) -> TenantPolicyAnswer:
    """Show what the tenant's calls and credentials may use; the default where no policy was set."""
    tenant = await run_in_threadpool(services.tenants.state_of, tenant_id)
    response.headers["ETag"] = entity_tag(tenant.version)
    return policy_answer(tenant)


@router.put(
    "/policy",
    operation_id="changeTenantPolicy",
    summary="Change the policy of a tenant",
    responses={200: answer(POLICY_ANSWER_EXAMPLE, ETAG), **HELD, **problems(*ADMIN, *BODY, *TENANT)},
    dependencies=[only_query()],
)
async def change_tenant_policy(
    *,
    tenant_id: TenantId,
    body: TenantPolicyBody,
    meta: CommandMetaOf,
    precondition: PreconditionOf,
    services: ServicesOf,
    response: Response,
) -> TenantPolicyAnswer:
    """Replace the policy. It applies to calls and changes that begin after the answer; credentials stay as they are."""
    policy = body.policy()
    outcome = await services.carry_out_alone(
        lambda: services.tenants.change_policy(tenant_id, policy, meta, precondition)
    )
    response.headers["ETag"] = entity_tag(outcome.known.tenant.version)
    return policy_answer(outcome.known.tenant)


@router.post(
    "/freeze",
    operation_id="freezeTenant",
    summary="Freeze a tenant",
    responses={200: answer(FROZEN_EXAMPLE, ETAG), **problems(*ADMIN, *BODY, *TENANT)},
    dependencies=[only_query(), Depends(no_body)],
)
async def freeze_tenant(
    tenant_id: TenantId, meta: CommandMetaOf, precondition: PreconditionOf, services: ServicesOf, response: Response
) -> ChangedTenantRecord:
    """Stop all calls and changes of a tenant. Once this is answered, none begins; calls under way end soon after."""
    outcome = await services.carry_out_alone(lambda: services.tenants.freeze(tenant_id, meta, precondition))
    return _answered(outcome, response)


@router.post(
    "/thaw",
    operation_id="thawTenant",
    summary="Thaw a frozen tenant",
    responses={200: answer(_CHANGED, ETAG), **HELD, **problems(*ADMIN, *BODY, *TENANT)},
    dependencies=[only_query(), Depends(no_body)],
)
async def thaw_tenant(
    tenant_id: TenantId, meta: CommandMetaOf, precondition: PreconditionOf, services: ServicesOf, response: Response
) -> ChangedTenantRecord:
    """Let a frozen tenant make calls and changes again."""
    outcome = await services.carry_out_alone(lambda: services.tenants.thaw(tenant_id, meta, precondition))
    return _answered(outcome, response)


def _answered(outcome: ChangedTenant, response: Response) -> ChangedTenantRecord:
    response.headers["ETag"] = entity_tag(outcome.known.tenant.version)
    return changed_record_of(outcome)
