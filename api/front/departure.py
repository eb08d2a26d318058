"""Ending work for a client that is gone.

Promises: the work runs in the task of the request, because it may keep state of its own there (context variables), and
is cancelled once, so that what it does to clean up is not cancelled again.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.types import Receive

from api.front.problems import HttpError

T = TypeVar("T")


async def until_client_leaves(receive: Receive, work: Awaitable[T]) -> T:
    """Return what `work` returns. Raises HttpError `client-left`, which nobody will read, after cancelling it."""
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
