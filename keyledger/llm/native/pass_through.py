"""Calls a provider's own API: the caller's request with the tenant's key, and the provider's response, untranslated.

Promises: a call resolves its key when it starts and drops it when the response starts; it sends one request with it, to
the one allowed origin (see `dispatch`). Routes that administer an account are closed, and the global key makes only the
calls that `global_calls` admits; both are decided before anything is sent. Headers pass as `headers` decides. The key
is removed from the response, which is decoded first if the provider compressed it against the request. Bodies stream in
both directions; only a few pieces are buffered. Every failure is a ServiceError without text from a provider.
"""

from dataclasses import replace

from yarl import URL

from api.front.web_socket.side import PROVIDER, SocketSide
from domain.audit.usage import UsageMeter
from domain.calls.native import Body, NativeAnswer, NativeCall
from domain.calls.web_socket import Offer
from domain.credentials.providers import Dialect, Provider
from domain.credentials.resolution import Receipt, Route, Source
from domain.errors import ProviderUnavailableError, RejectedCredentialError, ServiceError
from domain.request_context import SERVICE_KEY
from keyledger.llm.answers.bounds import MIB
from keyledger.llm.answers.event_ends import EventEnds
from keyledger.llm.answers.provider_codes import BODY_MAX, KEY_REFUSED, provider_code
from keyledger.llm.answers.told_usage import usage_of
from keyledger.llm.call_configuration import CallConfiguration, CurrentCallConfiguration
from keyledger.llm.metering import MeteredCall
from keyledger.llm.native.carried_out_later import require_counted
from keyledger.llm.native.for_route import ForRoute, called_of, most_of_call
from keyledger.llm.native.form import CheckedForm
from keyledger.llm.native.global_calls import global_call, kept_in_account
from keyledger.llm.native.handshake import NOT_A_WEB_SOCKET, Handshake, require_socket
from keyledger.llm.native.headers import to_caller, to_provider
from keyledger.llm.native.opened_socket import OpenedSocket
from keyledger.llm.native.pieces import AnswerPieces, EventPieces
from keyledger.llm.requests.provider_addresses import ANTHROPIC_VERSION, provider_address
from keyledger.llm.wire.answer_reader import ENCODING_UNKNOWN, AnswerReader, Limits, is_readable
from keyledger.llm.wire.dialling import Lookup
from keyledger.llm.wire.dispatch import CallFailedError, Dispatcher, Timeouts
from keyledger.llm.wire.idle_connections import IdleConnections
from keyledger.llm.wire.key_forms import KeyForms
from keyledger.llm.wire.lease import Lease, Owner
from keyledger.llm.wire.observation import note_answer
from keyledger.llm.wire.provider_answer import ProviderAnswer
from keyledger.llm.wire.provider_connection import ProviderConnection
from keyledger.llm.wire.provider_errors import native_call_error
from keyledger.llm.wire.turns import Turns

_MAY_BE_ABOUT_THE_KEY = frozenset({400, 403})
"""Statuses with which some providers answer to a key that is not valid, and to other errors as well."""
EVENT_STREAM = "text/event-stream"
ANSWER_MAX = 1024 * MIB
"""Bytes in one response: more than the largest file that providers store."""


class PassThrough:
    """The providers' own APIs for one event loop. Implements `domain.calls.native.NativeApis`."""

    def __init__(
        self,
        configuration: CurrentCallConfiguration,
        timeouts: Timeouts | None = None,
        lookup: Lookup | None = None,
        *,
        meter: UsageMeter,
        idle: IdleConnections | None = None,
    ) -> None:
        """configuration: returns the one in force, for each new call. timeouts: limits in seconds.
        lookup: resolves the host names of tenants' endpoints; by default the system's resolver.
        meter: counts calls with tenants' own credentials. idle: keeps connections between calls.
        """
        self._configuration = configuration
        self._meter = meter
        self._dispatcher = Dispatcher(lambda: configuration().rules, timeouts, lookup, idle)
        self._turns = Turns()

    async def start(self) -> None:
        """Do nothing: connections are opened by calls."""

    async def stop(self) -> None:
        """Close all connections."""
        await self._dispatcher.aclose()

    async def call(self, call: NativeCall) -> NativeAnswer:
        """Send one request and return its response as soon as that starts.

        Raises what resolution and `global_call` raise, InvalidRequestError for a path that is not allowed, and
        ProviderError.
        """
        configuration = self._configuration()
        configuration.native.require_open(call.path)
        return await self.send(call, configuration)

    async def connect(self, call: NativeCall, offer: Offer) -> NativeAnswer | OpenedSocket:
        """Open a WebSocket; return the provider's answer where it refuses. Raises as `call` does, and HttpError."""
        configuration = self._configuration()
        configuration.native.require_open(call.path)
        return await self._carry_out(call, configuration, None, offer)

    async def send(
        self, call: NativeCall, configuration: CallConfiguration, relayed: ForRoute | None = None
    ) -> NativeAnswer:
        """Resolve the key for one request, send it, and return its response as soon as that starts.

        relayed: the relayed route; without it, the body is sent as it is, and the end of a stream is the provider's
        matter. Raises as `call` does.
        """
        answered = await self._carry_out(call, configuration, relayed, None)
        assert isinstance(answered, NativeAnswer)  # noqa: S101  no WebSocket was offered
        return answered

    async def _carry_out(
        self, call: NativeCall, configuration: CallConfiguration, relayed: ForRoute | None, offer: Offer | None
    ) -> NativeAnswer | OpenedSocket:
        called = relayed.called if relayed is not None else None
        capable = called is None or called.model.tenant_capable
        resolved = await configuration.resolve(
            call.tenant_id, call.provider, tenant_capable=capable, admission=call.admission
        )
        route, receipt = resolved.route, resolved.receipt
        address = provider_address(route, None if called is None else called.model.upstream_name)
        if called is not None:
            body, length = await called.named(address.deployment or called.model.upstream_name)
            call = replace(call, body=body, length=length)
        require_counted(call)
        if offer is not None:
            require_socket(route.provider, address.operation(call.path), call.admission)
        if receipt.source is Source.GLOBAL:
            if relayed is not None and called is None:
                raise kept_in_account()
            call = await global_call(call, address, route.provider, configuration)
        write = address.url if offer is None else address.socket_url
        url = URL(write(call.path, call.query), encoded=True)
        lease = Lease(
            address.origin,
            address.header,
            resolved.secret,
            owner=Owner(call.tenant_id, route.provider.name, route.receipt.version),
            checked=route.tenant_endpoint,
            self_hosted=route.provider.self_hosted,
            streaming=True,
            rejects_with=route.provider.rejects_with,
        )
        del resolved
        named = called_of(call, relayed, configuration, opens=offer is not None)
        members = relayed.members if relayed is not None else {}
        reservation = await named.reserve(call.admission, call.provider, lambda: most_of_call(call, members))
        metered = MeteredCall(self._meter, call.tenant_id, receipt, lease.observation, named, reservation)
        with metered:
            answered = await self._send(lease, call, url, route, metered, relayed.ends if relayed else None, offer)
        if not isinstance(answered, ServiceError):
            return answered
        metered.finish(failed=True)
        raise answered

    async def _send(
        self,
        lease: Lease,
        call: NativeCall,
        url: URL,
        route: Route,
        metered: MeteredCall,
        ends: EventEnds | None,
        offer: Offer | None,
    ) -> NativeAnswer | OpenedSocket | ServiceError:
        """Return the response, or the error to raise: a traceback from here would reach the key in the request."""
        receipt = route.receipt
        handshake = None if offer is None else Handshake(offer)
        try:
            headers = _headers(call, route.provider) + (handshake.headers() if handshake else [])
            deadline = self._dispatcher.deadline()
            answer, connection = await self._dispatcher.open(lease, call.method, url, headers, _content(call), deadline)
            if answer is not None:
                note_answer(lease.observation, answer, lease.rejects_with, streaming=False)
                if handshake is not None and connection is not None and handshake.is_accepted(answer):
                    return self._opened(lease, route, metered, handshake, answer, connection)
                if handshake is not None and answer.status < 300:
                    lease.observation.failure = NOT_A_WEB_SOCKET
                elif not is_readable(answer):
                    lease.observation.failure = ENCODING_UNKNOWN
            failure = native_call_error(lease.observation, receipt)
            if answer is not None and failure is None and lease.secret is not None:
                streams = ends is not None and answer.content_type == EVENT_STREAM and lease.observation.accepted
                return await self._passed_on(answer, lease, receipt, metered, ends if streams else None)
            if answer is not None:
                answer.close()  # a pooled connection would keep the unread body, which may repeat the key
        except CallFailedError as refused:
            failure = ProviderUnavailableError(call.provider, str(refused))
        finally:
            lease.close()
        if isinstance(call.body, CheckedForm) and call.body.error is not None:
            return call.body.error
        return failure or ProviderUnavailableError(call.provider, "no-answer")

    def _opened(
        self,
        lease: Lease,
        route: Route,
        metered: MeteredCall,
        handshake: Handshake,
        answer: ProviderAnswer,
        connection: ProviderConnection,
    ) -> OpenedSocket:
        """Return the WebSocket that an answer has opened."""
        assert lease.secret is not None  # noqa: S101  it was sent
        lease.observation.switched = True
        forms, provider = KeyForms(lease.secret.reveal()), route.provider.name
        turns, tenant_id = self._turns.of(SERVICE_KEY.get(""), lease.owner.tenant_id), lease.owner.tenant_id

        async def rest(seconds: float) -> None:
            turns.took(seconds)
            await turns.wait()

        async def current() -> Route:
            return await self._configuration().resolver.explain(tenant_id, provider, tenant_capable=True)

        side = SocketSide(connection.hand_over(answer.close), PROVIDER, handshake.offer.held, rest)
        headers = to_caller(answer.head.headers, forms.found_in)
        return OpenedSocket(
            route, side, headers, handshake.subprotocol, forms, turns, metered, lease.observation, current
        )

    async def _passed_on(
        self,
        answer: ProviderAnswer,
        lease: Lease,
        receipt: Receipt,
        metered: MeteredCall,
        ends: EventEnds | None,
    ) -> NativeAnswer | ServiceError:
        assert lease.secret is not None  # noqa: S101  checked by the caller
        forms = KeyForms(lease.secret.reveal())
        headers = to_caller(answer.head.headers, forms.found_in)
        limits = Limits(ANSWER_MAX, self._dispatcher.pause, None)
        turns = self._turns.of(SERVICE_KEY.get(""), lease.owner.tenant_id)
        reader = AnswerReader(answer, lease.observation, forms, limits, turns)
        usage = usage_of(answer.content_type, lease.observation.told) if lease.observation.accepted else None
        if ends is not None:
            events = EventPieces(reader, lease.observation, receipt, metered, usage, ends)
            return NativeAnswer(receipt, answer.status, headers, None, events, events=True)
        begun, ended = await _error_about(answer.status, reader)
        if ended and provider_code(begun) in KEY_REFUSED:
            lease.observation.rejected = True
            reader.drop()
            return RejectedCredentialError(receipt.provider, receipt.source.value)
        whole = begun if ended else None if begun else await reader.rest_at_hand()
        if reader.broken:
            return native_call_error(lease.observation, receipt) or ProviderUnavailableError(receipt.provider, "broken")
        if whole is None:
            pieces = AnswerPieces(reader, lease.observation, receipt, metered, usage, begun)
            return NativeAnswer(receipt, answer.status, headers, None, pieces)
        if usage is not None:
            usage.feed(whole)
            usage.finish()
        metered.finish()
        return NativeAnswer(receipt, answer.status, headers, whole, None)


async def _error_about(status: int, reader: AnswerReader) -> tuple[bytes, bool]:
    """Return the beginning of an error that may be about the key, and whether that is all of it."""
    begun = b""
    while status in _MAY_BE_ABOUT_THE_KEY and len(begun) <= BODY_MAX:
        if (piece := await reader.next()) is None:
            return begun, not reader.broken
        begun += piece
    return begun, False


def _headers(call: NativeCall, provider: Provider) -> list[tuple[str, str]]:
    headers = to_provider(call.headers, provider.key_header)
    headers.append(("accept-encoding", "identity"))
    names = {name for name, _ in headers}
    if provider.dialect is Dialect.ANTHROPIC and "anthropic-version" not in names:
        headers.append(("anthropic-version", ANTHROPIC_VERSION))
    if "user-agent" not in names:
        headers.append(("user-agent", "keyledger"))
    if call.length is not None and not isinstance(call.body, bytes):
        headers.append(("content-length", str(call.length)))  # many providers accept no body without a length
    return headers


def _content(call: NativeCall) -> bytes | Body | None:
    return call.body or None if isinstance(call.body, bytes) else call.body
