"""Cancelling work for a client that has disconnected.

Promises: the work runs in the task of the request, where it may use context variables, and is cancelled only once, so
that its clean-up is not cancelled too.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.types import Receive

from api.front.problems import HttpError

T = TypeVar("T")


async def until_client_leaves(receive: Receive, work: Awaitable[T]) -> T:
    """Return what `work` returns. Raises HttpError `client-left`, after cancelling it; no client is left to read it."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  an ASGI application runs in a task
    left = False

    async def watch() -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        left = True
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        return await work
    except asyncio.CancelledError:
        if not left:  # the server is stopping
            raise
        raise HttpError("client-left", "The client left before the answer was complete.") from None
    finally:
        watcher.cancel()
        if left:
            task.uncancel()
