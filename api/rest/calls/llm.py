"""Calls to language models as a tenant, in the form of the OpenAI API.

Promises: the receipt of an answer is in its headers; nothing is sent to the client before the first chunk of a stream
is there, so an error before it has its real status; a client that leaves ends the call to the provider.
"""

from collections.abc import Mapping

from fastapi import APIRouter, Request, Response

from api.front.bounds.bounded_use import held_of
from api.front.departure import until_client_leaves
from api.front.exchange import AUTHENTICATED, Exchange, ExchangeOf
from api.front.json_response import json_response, json_response_in_steps
from api.front.metrics import MetricsOf
from api.front.operation import Operation
from api.front.paths import OPENAI
from api.front.services import ServicesOf
from api.rest.calls.begun_call import admission_of, begun, call_of, counted, wanted
from api.rest.calls.event_stream import EventStream
from api.rest.calls.llm_document import CHAT, EMBEDDINGS, MODEL, MODELS
from api.rest.calls.receipts import receipt_headers
from api.rest.schemas import TenantId
from domain.access.scope import Surface
from domain.calls.models import AnswerStream, Model
from domain.calls.prices import PriceTable
from domain.errors import AccessError, ErrorCode

router = APIRouter(route_class=Operation, prefix=OPENAI, tags=["models"], dependencies=[AUTHENTICATED])


@router.post("/chat/completions", operation_id="createChatCompletion", summary="Complete a chat", **CHAT)
async def create_chat_completion(
    tenant_id: TenantId, request: Request, exchange: ExchangeOf, services: ServicesOf, metrics: MetricsOf
) -> Response:
    """Complete a chat with the tenant's key; `stream: true` answers in server-sent events."""
    params, name = call_of(exchange)
    model = services.models.model(name)
    admission = admission_of(exchange, tenant_id, model, Surface.OPENAI)
    held_of(request.scope).begin_call(tenant_id, model.provider)
    with counted(metrics, model):
        call = begun(services.models.complete(tenant_id, model.name, params, admission))
        answer, first = await until_client_leaves(request.receive, call)
    metrics.served(answer.receipt)
    headers = receipt_headers(answer.receipt)
    if isinstance(answer, AnswerStream):
        return EventStream(first, answer.chunks, headers, exchange.request_id)
    return await json_response_in_steps(answer.body, headers)


@router.post("/embeddings", operation_id="createEmbeddings", summary="Compute embeddings", **EMBEDDINGS)
async def create_embeddings(
    tenant_id: TenantId, request: Request, exchange: ExchangeOf, services: ServicesOf, metrics: MetricsOf
) -> Response:
    """Compute embeddings with the tenant's key."""
    params, name = call_of(exchange)
    model = services.models.model(name)
    admission = admission_of(exchange, tenant_id, model, Surface.OPENAI)
    held_of(request.scope).begin_call(tenant_id, model.provider)
    with counted(metrics, model):
        call = services.models.embed(tenant_id, model.name, params, admission)
        answer = await until_client_leaves(request.receive, call)
    metrics.served(answer.receipt)
    return await json_response_in_steps(answer.body, receipt_headers(answer.receipt))


@router.get("/models", operation_id="listModels", summary="List the models", **MODELS)
async def list_models(tenant_id: TenantId, exchange: ExchangeOf, services: ServicesOf) -> Response:
    """List the catalogue: for every tenant the same, for an access key the models that it may call."""
    shown = [model for model in services.models.models() if _shows(exchange, tenant_id, model)]
    return json_response({"object": "list", "data": [_model_view(model, services.prices) for model in shown]})


@router.get("/models/{model:path}", operation_id="getModel", summary="Show a model", **MODEL)
async def get_model(tenant_id: TenantId, model: str, exchange: ExchangeOf, services: ServicesOf) -> Response:
    """Show one model of the catalogue, if the access key may call it."""
    found = services.models.model(model)
    if not _shows(exchange, tenant_id, found):
        raise AccessError(ErrorCode.OUTSIDE_SCOPE, "This caller may not call this model.")
    return json_response(_model_view(found, services.prices))


def _shows(exchange: Exchange, tenant_id: str, model: Model) -> bool:
    return exchange.admission is None or exchange.admission.lists(wanted(tenant_id, model, Surface.OPENAI))


def _model_view(model: Model, table: PriceTable) -> Mapping[str, object]:
    shown = {"id": model.name, "object": "model", "created": 0, "owned_by": model.provider}
    known = table.capabilities.get((model.provider, model.upstream_name))
    return shown if known is None else {**shown, "capabilities": known.stated()}
