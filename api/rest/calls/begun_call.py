"""How a call to a model begins, in each form of API: its model, its caller's admission, its first chunk.

Promises: nothing is sent to the client before the first chunk of a stream is there, so an error before it has its real
status.
"""

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from api.front.callers import RequestAdmission
from api.front.exchange import Exchange, Json
from api.front.metrics import Metrics
from domain.access.scope import Surface, Wanted
from domain.calls.models import AnswerStream, Model
from domain.errors import InvalidField, InvalidRequestError, ServiceError

A = TypeVar("A")


def call_of(exchange: Exchange) -> tuple[Json, str]:
    """Return the members of the request and the model it names. Raises InvalidRequestError."""
    if exchange.body is None:
        raise InvalidRequestError([InvalidField("the body", "is required: a JSON object")])
    name = exchange.body.get("model")
    if not isinstance(name, str) or not name:
        raise InvalidRequestError(
            [InvalidField("model", "is required: the name of a model; GET .../models lists them")]
        )
    return exchange.body, name


def wanted(tenant_id: str, model: Model, surface: Surface) -> Wanted:
    """Return what a call of a model asks for."""
    return Wanted(tenant=tenant_id, provider=model.provider, surface=surface, model=model.name)


def admission_of(exchange: Exchange, tenant_id: str, model: Model, surface: Surface) -> RequestAdmission | None:
    """Return the admission of a call, which now knows what the call is for; None for a key of the settings."""
    if exchange.admission is not None:
        exchange.admission.asks(wanted(tenant_id, model, surface))
    return exchange.admission


@contextmanager
def counted(metrics: Metrics, model: Model) -> Iterator[None]:
    """Count the failure of a call. Raises what the call raises."""
    try:
        yield
    except ServiceError as error:
        metrics.failed(model.provider, error.code)
        raise


async def begun(call: Awaitable[A]) -> tuple[A, Json | None]:
    """Return the answer, and its first chunk if it is a stream that is not empty."""
    answer = await call
    if not isinstance(answer, AnswerStream):
        return answer, None
    try:
        return answer, await anext(answer.chunks, None)
    except BaseException:
        await answer.chunks.aclose()
        raise
