"""Answers of models in pieces, as server-sent events in the form of an API: OpenAI's, or another one.

Promises: the end of all (`[DONE]` in OpenAI's form) is sent only after the last chunk of a whole answer; a failure in
the middle is an event with an error in our own words; the source is closed when the stream ends, however it ends, and
at once when the client leaves.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.front.departure import until_client_leaves
from api.front.exchange import Json
from api.front.json_response import encode
from api.front.problems import HttpError, internal_problem, openai_error, problem_of
from api.front.unexpected_errors import log_unexpected
from domain.calls.models import Chunks
from domain.errors import ServiceError


@dataclass(frozen=True, slots=True)
class EventForm:
    """The events of an API. event: writes one. error: writes a failure, described as OpenAI does. done: ends all."""

    event: Callable[[Json], bytes]
    error: Callable[[Json], bytes]
    done: bytes


def _event(value: Json) -> bytes:
    return b"data: " + encode(value) + b"\n\n"


OPENAI_EVENTS = EventForm(_event, lambda described: _event({"error": described}), b"data: [DONE]\n\n")


class EventStream(StreamingResponse):
    """The chunks of a started answer. `first` was already taken from `chunks`; None when there was none."""

    def __init__(
        self,
        first: Json | None,
        chunks: Chunks,
        headers: Mapping[str, str],
        request_id: str,
        form: EventForm = OPENAI_EVENTS,
    ) -> None:
        self._chunks = chunks
        self._events = _events(first, chunks, request_id, form)
        # Buffering by a proxy would defeat streaming.
        super().__init__(self._events, 200, {**headers, "X-Accel-Buffering": "no"}, "text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end or the client is gone."""
        try:
            await until_client_leaves(receive, self._send_all(send))
        except HttpError:
            pass  # no client is left to receive it
        finally:
            await self._events.aclose()
            await self._chunks.aclose()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for event in self._events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _events(first: Json | None, chunks: Chunks, request_id: str, form: EventForm) -> AsyncGenerator[bytes, None]:
    try:
        if first is not None:
            yield form.event(first)
        async for chunk in chunks:
            yield form.event(chunk)
    except ServiceError as error:
        yield form.error(openai_error(problem_of(error)))
    except Exception as error:  # noqa: BLE001  its text may hold anything, so only its type is kept
        log_unexpected(error, request_id)
        yield form.error(openai_error(internal_problem()))
    else:
        if form.done:
            yield form.done
