"""The handshake with which a provider's WebSocket is opened.

Promises: no extension is offered, so the provider may not compress. Of an answer everything that the standard asks for
is checked. Standard: RFC 6455, section 4.1.
"""

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from api.front.problems import HttpError
from api.front.web_socket.side import SILENT
from domain.calls.call_admission import CallAdmission
from domain.calls.web_socket import Offer, uncounted
from domain.credentials.providers import Provider
from keyledger.llm.wire.provider_answer import ProviderAnswer

NOT_A_WEB_SOCKET = "answer-not-a-web-socket"
_OF_THE_CONNECTION = frozenset({"host"})


class Handshake:
    """One handshake."""

    def __init__(self, offer: Offer) -> None:
        """offer: of the caller."""
        self.offer = offer
        offered = [Subprotocol(one) for one in offer.subprotocols]
        self._protocol = ClientProtocol(parse_uri("ws://provider/"), subprotocols=offered or None, logger=SILENT)

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of the request, besides those of any other."""
        given = self._protocol.connect().headers.raw_items()
        return [(name.lower(), value) for name, value in given if name.lower() not in _OF_THE_CONNECTION]

    def is_accepted(self, answer: ProviderAnswer) -> bool:
        """Whether an answer opens the WebSocket, in the way that was offered."""
        given = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.head.headers])
        try:
            self._protocol.process_response(Response(answer.status, "", given))
        except InvalidHandshake:
            return False
        return True

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the provider chose."""
        return self._protocol.subprotocol


def require_socket(provider: Provider, operation: str, admission: CallAdmission | None) -> None:
    """Raise HttpError for an operation that is not a WebSocket of the provider, AccessError for a key with budgets.

    admission: of a caller with an access key, who was admitted.
    """
    if admission is not None and admission.is_budgeted:
        raise uncounted()
    if any(operation == one or operation.startswith(f"{one}/") for one in provider.sockets):
        return
    had = f"only at v1/{', v1/'.join(sorted(provider.sockets))}" if provider.sockets else "nowhere"
    raise HttpError(
        "upgrade-refused", f"{provider.name} accepts WebSocket connections {had}; use the provider's HTTP API."
    )
