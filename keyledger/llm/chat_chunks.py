"""The chunks of a streamed chat on their way to the client, and the errors that calls end with.

Promises: a call is counted once its stream has ended, or is closed; an error holds no text from a provider.
"""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from domain.calls.models import Json
from domain.credentials.resolution import Receipt
from domain.errors import ServiceError
from keyledger.llm.adapters.litellm import parameters_named_in
from keyledger.llm.answers.bounded_json import InvalidAnswerError
from keyledger.llm.answers.openai_shapes import chunk_shape
from keyledger.llm.metering import MeteredCall
from keyledger.llm.requests.parameters import Request
from keyledger.llm.wire.lease import Lease
from keyledger.llm.wire.provider_errors import call_error


def failure_of(error: Exception, lease: Lease, receipt: Receipt, request: Request) -> ServiceError:
    """Return the error for what went wrong in a call."""
    if isinstance(error, InvalidAnswerError):
        lease.observation.failure = error.reason
    return call_error(lease.observation, receipt, request, parameters_named_in(error, request))


class ChatChunks(AsyncIterator[Json]):
    """The chunks of a streamed response."""

    def __init__(
        self,
        chunks: AsyncIterator[dict[str, Any]],
        lease: Lease,
        receipt: Receipt,
        request: Request,
        model: str,
        metered: MeteredCall,
    ) -> None:
        self._chunks = chunks
        self._lease = lease
        self._receipt = receipt
        self._request = request
        self._model = model
        self._metered = metered
        self._closed = False

    async def __anext__(self) -> Json:
        """Return the next chunk. Raises ServiceError."""
        if self._closed:
            raise StopAsyncIteration
        failure: ServiceError | None = None
        try:
            return chunk_shape(await anext(self._chunks), self._model)
        except StopAsyncIteration:
            pass
        except Exception as error:  # noqa: BLE001  any of them may quote the provider
            failure = failure_of(error, self._lease, self._receipt, self._request)
        self._metered.finish(failed=failure is not None)
        await self.aclose()
        if failure is not None:
            raise failure
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close the connection of a stream that is no longer needed. Does nothing after its end."""
        self._closed = True
        self._metered.finish()
        self._lease.drop_answer()
        closing = getattr(self._chunks, "aclose", None)
        if closing is not None:
            with suppress(Exception):
                await closing()
