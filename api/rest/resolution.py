"""The dry run: whose key would serve a call, and where it would go.

Promises: decrypts nothing, sends nothing; an error that a call would meet is part of the answer, with its reason.
"""

from fastapi import APIRouter

from api.front.exchange import AUTHENTICATED
from api.front.operation import Operation
from api.front.paths import SYSADMIN
from api.front.services import ServicesOf
from api.front.validation import only_query
from api.rest.examples import RESOLUTION
from api.rest.openapi import ADMIN, answer, problems
from api.rest.schemas import ModelName, RefusalView, ResolutionAnswer, TenantId
from domain.calls.models import Model
from domain.credentials.resolution import Route
from domain.errors import UnresolvableError

router = APIRouter(route_class=Operation, prefix=SYSADMIN, tags=["resolution"], dependencies=[AUTHENTICATED])


@router.get(
    "/resolution",
    operation_id="explainResolution",
    summary="Explain whose key would serve a call",
    responses={200: answer(RESOLUTION), **problems(*ADMIN, "unknown-model")},
    dependencies=[only_query("model")],
)
async def explain_resolution(tenant_id: TenantId, model: ModelName, services: ServicesOf) -> ResolutionAnswer:
    """Say which key a call of the tenant to the model would use, or why none."""
    found = services.models.model(model)
    try:
        route = await services.models.explain(tenant_id, found.name)
    except UnresolvableError as refused:
        return _answer(found, None, RefusalView(code=refused.code, detail=refused.detail))
    return _answer(found, route, None)


def _answer(model: Model, route: Route | None, refused: RefusalView | None) -> ResolutionAnswer:
    return ResolutionAnswer(
        model=model.name,
        adapter=model.adapter,
        provider=model.provider,
        source=route.receipt.source if route else "none",
        endpoint=route.base_url if route else None,
        version=route.receipt.version if route else None,
        key_id=route.receipt.key_id if route else None,
        refusal=refused,
    )
