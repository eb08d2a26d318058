"""Requests under way: each ends soon after its caller, or the operator's rules for its tenant, stop admitting it.

Promises: a request whose key was revoked, whose key, token or session has ended, or whose caller no longer has what was
called in its scope, and a call to a model of a tenant that was frozen, end within `LOOK_S` seconds and the time of two
statements. One that has not been answered yet gets the error; an answer that has begun stays incomplete, so that no
client takes it for a whole one. A database that does not answer ends nothing, and no error ends the looking.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from contextvars import ContextVar

from api.front.callers import Callers, RequestAdmission
from api.front.unexpected_errors import log_unexpected
from domain.errors import AccessError, CredentialIntegrityError, ServiceError, UnresolvableError

LOOK_S = 2.0
"""Seconds between two looks at what is under way."""

RequireTenant = Callable[[str], Awaitable[None]]
"""Raises UnresolvableError where calls of a tenant must not continue; StoreUnavailableError."""


class UnderWay:
    """One request under way. admission: of a caller with an access key. tenant: whose call to a model it is, if any.

    ended: why it ends before its time.
    """

    def __init__(self, admission: RequestAdmission | None, tenant: str | None, task: "asyncio.Task[None]") -> None:
        self.admission = admission
        self.tenant = tenant
        self.ended: ServiceError | None = None
        self._task = task

    def end(self, error: ServiceError) -> None:
        """End the request, once."""
        if self.ended is None:
            self.ended = error
            self._task.cancel()


_SERVING: ContextVar[UnderWay | None] = ContextVar("keyledger_under_way", default=None)


def ended_with() -> ServiceError | None:
    """Return why the running task's request was ended before its time, if it was; else None."""
    this = _SERVING.get()
    return None if this is None else this.ended


class RevokedCalls:
    """Knows what is under way in one process, and looks at it in a task of its own.

    ends: says whether requests are ended at all.
    """

    def __init__(
        self, callers: Callers, require_tenant: RequireTenant, ends: Callable[[], bool], pause: float = LOOK_S
    ) -> None:
        self._callers = callers
        self._require_tenant = require_tenant
        self._ends = ends
        self._pause = pause
        self._task: asyncio.Task[None] | None = None
        self.under_way: set[UnderWay] = set()

    async def start(self) -> None:
        """Start the task on the running event loop."""
        self._task = asyncio.create_task(self._run(), name="ending of revoked calls")

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def serve(self, work: Awaitable[None], admission: RequestAdmission | None, tenant: str | None) -> None:
        """Do the work of a request. Raises the error with which it stopped being admitted."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  an ASGI application runs in a task
        this = UnderWay(admission, tenant, task)
        self.under_way.add(this)
        serving = _SERVING.set(this)
        try:
            await work
        except asyncio.CancelledError:
            if this.ended is None:  # the server is stopping
                raise
            task.uncancel()
            raise this.ended.with_traceback(None) from None
        finally:
            _SERVING.reset(serving)
            self.under_way.remove(this)

    async def look(self) -> None:
        """End what is not admitted now."""
        if not self._ends():
            return
        of_tenants = defaultdict[str, list[UnderWay]](list)
        for one in self.under_way:
            if one.tenant is not None:
                of_tenants[one.tenant].append(one)
        by_key = [one for one in self.under_way if one.admission is not None]
        await asyncio.gather(
            *(self._look_at_key(one) for one in by_key),
            *(self._look_at_tenant(tenant, calls) for tenant, calls in of_tenants.items()),
        )

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001  the next look may find what this one did not
                log_unexpected(error, "none")

    async def _look_at_key(self, one: UnderWay) -> None:
        admission = one.admission
        if admission is None or admission.caller is None:  # it will be admitted, or not, when its key is resolved
            return
        try:
            admission.caller = admission.require(await admission.standing.read())
        except (AccessError, CredentialIntegrityError) as error:
            one.end(error)
        except ServiceError:
            return

    async def _look_at_tenant(self, tenant: str, calls: Collection[UnderWay]) -> None:
        try:
            await self._require_tenant(tenant)
        except UnresolvableError as error:
            for one in calls:
                one.end(error)
        except ServiceError:
            return
