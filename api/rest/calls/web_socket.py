"""One WebSocket between a caller and a provider: messages pass in both directions until a side ends, or has to.

Promises: either side is read only as fast as the other takes what it sends. Where a side closes, the other is closed
with its code and reason; where one breaks off, the other learns that. The socket ends when the caller is no longer
admitted, the tenant is frozen or its credential was set again or deleted, within `LOOK_S` seconds and the time of two
statements; without a message for `IDLE_S`; and when the service stops. Its close frame to the caller then has a code
and, as its reason, the code of the error. No part of a message is logged or kept.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from api.front.problems import HttpError
from api.front.revoked_calls import LOOK_S, ended_with
from api.front.web_socket.side import SocketSide
from domain.calls.web_socket import BAD_GATEWAY, GOING_AWAY, POLICY, TRY_AGAIN, Message, ProviderSocket, sendable
from domain.errors import ErrorCode, ServiceError

IDLE_S = 600.0
"""Seconds without a message, after which a socket ends."""
STOPPING, IDLE = "shutting-down", "idle"


@dataclass(frozen=True, slots=True)
class Closing:
    """How a socket ends: with what each side is closed. code: of the error, for logs, where it is one."""

    caller: tuple[int | None, str]
    provider: tuple[int | None, str] = (GOING_AWAY, "")
    code: str | None = None


class SocketRelay:
    """The relay of one socket."""

    def __init__(
        self,
        caller: SocketSide,
        provider: ProviderSocket,
        check: Callable[[Message], Awaitable[None]],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """check: raises an error for a message that the caller may not send. pause: waits between two looks."""
        self._caller = caller
        self._provider = provider
        self._check = check
        self._pause = pause
        self._waited = 0.0

    async def run(self) -> str | None:
        """Pass messages on until the end. Return the code of the error that ended the socket, if one did."""
        tasks = [asyncio.create_task(part) for part in self._parts()]
        closing = Closing((1011, ""), code="internal-error")
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            closing = next(task for task in tasks if task in done).result()
        except asyncio.CancelledError:
            ended = ended_with()
            closing = Closing((GOING_AWAY, STOPPING) if ended is None else (POLICY, ended.code))
            raise
        finally:
            for task in tasks:
                task.cancel()
            self._caller.close(*closing.caller)
            self._provider.close(*closing.provider)
            await asyncio.gather(*tasks, return_exceptions=True)
        return closing.code

    def _parts(self) -> list[Coroutine[Any, Any, Closing]]:
        """Return what runs at the same time. Where two end together, the first of them says how the socket ends."""
        return [self._watch(), _ending(self._to_caller()), _ending(self._to_provider())]

    async def _to_provider(self) -> Closing:
        while (message := await self._caller.next()) is not None:
            await self._check(message)
            self._waited = 0.0
            await self._provider.send(message)
        ending = self._caller.ending
        if ending is None or ending.broken is not None:
            return Closing((None, ""))  # the caller is gone, or has a close frame that says why
        return Closing((None, ""), sendable(ending))

    async def _to_caller(self) -> Closing:
        while (message := await self._provider.next()) is not None:
            self._waited = 0.0
            await self._caller.send(message)
        ending = self._provider.ending
        if ending is None or ending.broken is not None:
            code = ErrorCode.PROVIDER_UNAVAILABLE.value
            return Closing((BAD_GATEWAY, code), code=code)
        return Closing(sendable(ending), (None, ""))

    async def _watch(self) -> Closing:
        while self._waited < IDLE_S:
            await self._pause(LOOK_S)
            self._waited += LOOK_S
            if (code := await self._provider.outdated()) is not None:
                return Closing((POLICY, code), code=code)
        return Closing((GOING_AWAY, IDLE))


async def _ending(part: Awaitable[Closing]) -> Closing:
    """Return how a part ends, also with an error."""
    try:
        return await part
    except HttpError as error:
        busy = error.code in {"limit-reached", "provider-busy"}
        return Closing((TRY_AGAIN if busy else POLICY, error.code), code=error.code)
    except ServiceError as error:
        late = error.code in {ErrorCode.PROVIDER_UNAVAILABLE, ErrorCode.PROVIDER_TIMEOUT}
        return Closing((BAD_GATEWAY if late else POLICY, error.code), code=error.code)
