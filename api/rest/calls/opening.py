"""The opening of a WebSocket of a provider's own API, from the handshake of the caller to the end of the socket.

Promises: the caller's handshake is checked first; the connection leaves HTTP only once the provider has opened its
side. Whatever stops it until then is answered as for any other request.
"""

from collections import Counter
from collections.abc import Awaitable
from types import SimpleNamespace

from starlette.types import Scope

from api.front.bounds.bounded_use import held_of
from api.front.departure import until_client_leaves
from api.front.exchange import exchange_of
from api.front.paths import WEB_SOCKET
from api.front.upload import Upload
from api.front.web_socket.handshake import accepted, subprotocols
from api.front.web_socket.side import CALLER, SocketSide
from api.rest.calls.answering import Answering
from api.rest.calls.socket_models import SocketModels
from api.rest.calls.untranslated import Untranslated
from api.rest.calls.web_socket import SocketRelay
from domain.calls.native import NativeAnswer
from domain.calls.web_socket import Offer, ProviderSocket

_SWITCHING = 101


class Opening:
    """The opening of one WebSocket. offer: for the provider."""

    def __init__(self, scope: Scope, models: SocketModels) -> None:
        """models: those that the caller may use. Raises HttpError for a handshake that is not acceptable."""
        scope["route"] = SimpleNamespace(path=WEB_SOCKET)
        self._scope = scope
        self.models = models
        self._upgrade, self._headers = accepted(scope)
        self._sizes = Counter[str]()
        self.offer = Offer(subprotocols(scope["headers"]), lambda size: self._hold("provider", size))

    async def serve(
        self,
        connecting: Awaitable[NativeAnswer | ProviderSocket],
        upload: Upload,
        answering: Answering,
        layer: Untranslated,
    ) -> None:
        """Connect, and pass messages on until the end. Raises what `connecting` raises, and HttpError."""
        provider = self.models.wanted.provider
        opened = await layer.counted(until_client_leaves(upload.after_end, connecting), upload, lambda: provider)
        if isinstance(opened, NativeAnswer):
            await layer.pass_on(opened, upload, answering, "GET")
            return
        try:
            await answering.switch(self._answer_to_handshake(opened), opened.receipt)
        except BaseException:
            opened.close(None)
            raise
        layer.metrics.native(opened.receipt, _SWITCHING)
        caller = SocketSide(self._upgrade.pipe, CALLER, lambda size: self._hold("caller", size))
        ended = await SocketRelay(caller, opened, self.models.check).run()
        exchange_of(self._scope).refused = ended

    def _answer_to_handshake(self, opened: ProviderSocket) -> list[tuple[bytes, bytes]]:
        chosen = opened.subprotocol
        subprotocol = [] if chosen is None else [(b"sec-websocket-protocol", chosen.encode("ascii"))]
        return [*opened.headers, *self._headers, *subprotocol]

    def _hold(self, side: str, size: int) -> None:
        self._sizes[side] = size
        held_of(self._scope).keep_bytes(self._sizes.total())
