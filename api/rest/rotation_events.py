"""The progress of a rotation as server-sent events, whichever node runs it.

Promises: every event carries the whole state, so a reader that reconnects has missed nothing; ids only grow; `done` is
the last event and comes when the rotation ended, however it ended. A failure in the middle is an event `error`, and the
reader may come back.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from api.front.exchange import Json
from api.front.json_response import encode
from api.front.problems import problem_of
from api.rest.encryption_key_shapes import RotationView
from domain.errors import ServiceError
from domain.operations.rotation import RotationState, RotationStatus

LOOK_S = 0.25
"""Seconds between polls of the rotation."""
QUIET_LOOKS = 40
"""Polls without a change after which a comment keeps proxies from closing the connection."""


def rotation_events(first: RotationStatus, look: Callable[[], RotationStatus]) -> StreamingResponse:
    """Return the answer that follows a rotation from `first` on. `look` reads it again and may block."""
    # Buffering by a proxy would defeat streaming.
    return StreamingResponse(_events(first, look), 200, {"X-Accel-Buffering": "no"}, "text/event-stream")


async def _events(status: RotationStatus, look: Callable[[], RotationStatus]) -> AsyncIterator[bytes]:
    shown: RotationStatus | None = None
    quiet = 0
    while status.state is RotationState.RUNNING:
        if status != shown:
            yield _event("progress", status)
            shown, quiet = status, 0
        elif quiet >= QUIET_LOOKS:
            yield b": nothing new\n\n"
            quiet = 0
        quiet += 1
        await asyncio.sleep(LOOK_S)
        try:
            status = await run_in_threadpool(look)
        except ServiceError as error:
            problem = problem_of(error)
            yield _frame("error", {"code": problem.code, "detail": problem.detail})
            return
    yield _event("done", status)


def _event(name: str, status: RotationStatus) -> bytes:
    # An interrupted rotation was last written while it ran: one more than the id of that event.
    moment = int(status.updated_at.timestamp() * 1_000_000) + (name == "done")
    return b"id: " + str(moment).encode() + b"\n" + _frame(name, RotationView.of(status).model_dump(mode="json"))


def _frame(name: str, value: Json) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + encode(value) + b"\n\n"
