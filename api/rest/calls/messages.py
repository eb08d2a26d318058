"""Calls to language models as a tenant, in the form of Anthropic's Messages API.

Promises: as `llm`; events and errors have Anthropic's form. The answer of a provider with this API is not changed.
"""

from collections.abc import Mapping

from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send

from api.front.bounds.bounded_use import held_of
from api.front.departure import until_client_leaves
from api.front.exchange import AUTHENTICATED, Exchange, ExchangeOf, Json, exchange_of
from api.front.json_response import encode, json_response_in_steps
from api.front.metrics import MetricsOf
from api.front.operation import Operation
from api.front.paths import ANTHROPIC
from api.front.problems import HttpError
from api.front.services import ServicesOf
from api.rest.calls.answering import Answering
from api.rest.calls.begun_call import admission_of, begun, call_of, counted
from api.rest.calls.event_stream import EventForm, EventStream
from api.rest.calls.messages_document import COUNT, MESSAGE
from api.rest.calls.receipts import receipt_headers
from api.rest.schemas import TenantId
from domain.access.scope import Surface
from domain.calls.messages import MessageCall
from domain.calls.models import AnswerStream
from domain.calls.native import NativeAnswer
from domain.errors import ServiceError

router = APIRouter(route_class=Operation, prefix=ANTHROPIC, tags=["models"], dependencies=[AUTHENTICATED])


@router.post("/messages", operation_id="createMessage", summary="Create a message", **MESSAGE)
async def create_message(
    tenant_id: TenantId, request: Request, exchange: ExchangeOf, services: ServicesOf, metrics: MetricsOf
) -> Response:
    """Create a message with the tenant's key; `stream: true` answers in server-sent events."""
    call = _call(tenant_id, request, exchange, services)
    with counted(metrics, call.model):
        started = until_client_leaves(request.receive, begun(services.messages.create(call)))
        answer, first = await started
    if isinstance(answer, NativeAnswer):
        metrics.native(answer.receipt, answer.status)
        return _PassedOn(answer)
    metrics.served(answer.receipt)
    headers = receipt_headers(answer.receipt)
    if isinstance(answer, AnswerStream):
        return EventStream(first, answer.chunks, headers, exchange.request_id, EVENTS)
    return await json_response_in_steps(answer.body, headers)


@router.post("/messages/count_tokens", operation_id="countMessageTokens", summary="Count tokens", **COUNT)
async def count_message_tokens(
    tenant_id: TenantId, request: Request, exchange: ExchangeOf, services: ServicesOf, metrics: MetricsOf
) -> Response:
    """Count the tokens of a message's request, where the model's provider can."""
    call = _call(tenant_id, request, exchange, services)
    with counted(metrics, call.model):
        answer = await until_client_leaves(request.receive, services.messages.count_tokens(call))
    metrics.native(answer.receipt, answer.status)
    return _PassedOn(answer)


def _call(tenant_id: str, request: Request, exchange: Exchange, services: ServicesOf) -> MessageCall:
    params, name = call_of(exchange)
    model = services.models.model(name)
    admission = admission_of(exchange, tenant_id, model, Surface.MESSAGES)
    held_of(request.scope).begin_call(tenant_id, model.provider)
    return MessageCall(tenant_id, model, params, request.scope["headers"], admission)


class _PassedOn(Response):
    """The answer of a provider, unchanged."""

    def __init__(self, answer: NativeAnswer) -> None:
        super().__init__(status_code=answer.status)
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer. One that breaks off ends with an error event, or stays incomplete."""
        try:
            await until_client_leaves(receive, Answering(send).pass_on(self._answer, bodiless=False, closing=False))
        except ServiceError as error:
            exchange_of(scope).refused = error.code
        except HttpError:
            pass  # no client is left to receive it


def _event(value: Json) -> bytes:
    return f"event: {value['type']}\ndata: ".encode() + encode(value) + b"\n\n"


def _error(described: Mapping[str, object]) -> bytes:
    return _event({"type": "error", "error": described})


EVENTS = EventForm(_event, _error, b"")
"""A stream of events ends with `message_stop`, which is one of them."""
