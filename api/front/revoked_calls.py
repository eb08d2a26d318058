"""Calls under way with access keys: each ends soon after its key stops admitting it.

Promises: a call whose key was revoked, has expired, or no longer has what was called in its scope ends within `LOOK_S`
seconds and the time of one statement. One that has not been answered yet gets the error; an answer that has begun stays
incomplete, so that no client takes it for a whole one. A database that does not answer ends no call.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from api.front.callers import Callers, RequestAdmission
from domain.errors import AccessError, CredentialIntegrityError, ServiceError

LOOK_S = 2.0
"""Seconds between two looks at the keys of calls under way."""


class RevokedCalls:
    """Looks at the keys of calls under way, in a task of its own. ends: says whether such calls are ended at all."""

    def __init__(self, callers: Callers, ends: Callable[[], bool], pause: float = LOOK_S) -> None:
        self._callers = callers
        self._ends = ends
        self._pause = pause
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the task on the running event loop."""
        self._task = asyncio.create_task(self._run(), name="ending of revoked calls")

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def look(self) -> None:
        """End the calls whose keys do not admit them now."""
        if self._ends():
            await asyncio.gather(*map(self._look_at, list(self._callers.under_way)))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            await self.look()

    async def _look_at(self, admission: RequestAdmission) -> None:
        if admission.key is None:  # it will be admitted, or not, when its key is resolved
            return
        try:
            admission.require(await self._callers.read(admission.digest))
        except (AccessError, CredentialIntegrityError) as error:
            task = self._callers.under_way.get(admission)
            if task is not None and admission.ended is None:
                admission.ended = error
                task.cancel()
        except ServiceError:
            return


async def until_revoked(callers: Callers, admission: RequestAdmission, work: Awaitable[None]) -> None:
    """Do the work of a request. Raises the error with which its key stopped admitting it."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  an ASGI application runs in a task
    callers.under_way[admission] = task
    try:
        await work
    except asyncio.CancelledError:
        if admission.ended is None:  # the server is stopping
            raise
        task.uncancel()
        raise admission.ended from None
    finally:
        del callers.under_way[admission]
