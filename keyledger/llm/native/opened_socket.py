"""A provider's WebSocket that is open, without the key.

Promises: each message is held whole and leaves without the key in any of the forms of `key_forms`, also within gzip;
when it leaves does not depend on the key. So does the reason of the provider's close frame. The call counts once, when
the socket closes; as failed, if the provider broke off or broke a rule of the protocol. A provider that takes nothing
for `STALLED_S` ends it. It is outdated as soon as the tenant's credential was set again or deleted, and stays valid
while that is only re-encrypted.
Not detected: a key that the provider spreads over two messages.
"""

import asyncio
from collections.abc import Awaitable, Callable

from api.front.web_socket.side import SocketSide
from domain.calls.native import Headers
from domain.calls.web_socket import Ending, Message
from domain.credentials.resolution import Receipt, Route
from domain.errors import LATE, ErrorCode, ProviderUnavailableError, ServiceError, StoreUnavailableError
from keyledger.llm.answers.bounded_json import InvalidAnswerError
from keyledger.llm.metering import MeteredCall
from keyledger.llm.wire.key_forms import KeyForms
from keyledger.llm.wire.observation import Observation
from keyledger.llm.wire.scrubbed_body import ScrubbedBody
from keyledger.llm.wire.scrubbing import STEP
from keyledger.llm.wire.turns import TurnsOfOne

STALLED_S = 30.0
"""Seconds in which a provider has to take some of what waits for it."""
REPLACED = "credential-replaced"


class OpenedSocket:
    """One open socket. Implements `domain.calls.web_socket.ProviderSocket`."""

    def __init__(
        self,
        route: Route,
        side: SocketSide,
        headers: Headers,
        subprotocol: str | None,
        forms: KeyForms,
        turns: TurnsOfOne,
        metered: MeteredCall,
        observation: Observation,
        current: Callable[[], Awaitable[Route]],
    ) -> None:
        """route: of the call that opened it. forms: of the key to remove. current: returns the route of a call now."""
        self.receipt: Receipt = route.receipt
        self.headers = headers
        self.subprotocol = subprotocol
        self.ending: Ending | None = None
        self._opened_by = _ground(route)
        self._side = side
        self._forms: KeyForms | None = forms
        self._turns = turns
        self._metered = metered
        self._observation = observation
        self._current = current

    async def next(self) -> Message | None:
        """Return the next message without the key; None once the provider's side has ended."""
        message = await self._side.next()
        forms = self._forms
        if message is not None and forms is not None:
            try:
                return Message(await self._scrubbed(message.data, forms), message.text)
            except InvalidAnswerError as error:
                self._end(Ending(broken=error.reason))
                return None
        ending = self._side.ending or Ending()
        if forms is not None and forms.found_in(ending.reason.encode()):
            ending = Ending(ending.code, broken=ending.broken)
        self._end(ending)
        return None

    async def send(self, message: Message) -> None:
        """Send a message. Raises ProviderUnavailableError for a provider that takes nothing."""
        try:
            async with asyncio.timeout(STALLED_S):
                await self._side.send(message)
        except TimeoutError:
            self._end(Ending(broken=LATE))
            raise ProviderUnavailableError(self.receipt.provider, LATE) from None

    async def outdated(self) -> str | None:
        """Return a code once a call now would be made with another credential, or none. A freeze is not looked at."""
        try:
            route = await self._current()
        except StoreUnavailableError:
            return None
        except ServiceError as error:
            return None if error.code == ErrorCode.TENANT_FROZEN else error.code
        return None if _ground(route) == self._opened_by else REPLACED

    def close(self, code: int | None, reason: str = "") -> None:
        """Close it, and count the call."""
        self._side.close(code, reason)
        self._metered.finish()
        self._forms = None

    async def _scrubbed(self, data: bytes, forms: KeyForms) -> bytes:
        body, passed = ScrubbedBody(forms, "", self._turns), list[bytes]()
        for start in range(0, len(data), STEP):
            if start:
                await self._turns.wait()
            passed.append(await body.feed(data[start : start + STEP]))
        return b"".join([*passed, await body.finish()])

    def _end(self, ending: Ending) -> None:
        self.ending = self.ending or ending
        self._observation.failure = self._observation.failure or ending.broken


def _ground(route: Route) -> tuple[object, ...]:
    """Return what a change of the credential changes, and its re-encryption does not."""
    return route.receipt.source, route.base_url, route.credential and route.credential.set_at
