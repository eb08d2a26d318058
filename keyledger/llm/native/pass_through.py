"""Calls in a provider's own API: the tenant's key, the caller's request, the provider's answer, nothing translated.

Promises: the key is resolved for the call at this moment and let go of when its answer begins; one request with it, to
the one allowed origin (see `dispatch`). Headers pass by the rules of `native_headers`. What is passed on of an answer
is scrubbed of the key, decoded where the provider encoded it although it was told not to. Bodies stream in both
directions; what is held of one is a few pieces. Every failure is a ServiceError without text of a provider.
"""

from collections.abc import AsyncIterable

import aiohttp
from yarl import URL

from domain.audit.usage import UsageMeter
from domain.calls.native import NativeAnswer, NativeCall
from domain.credentials.providers import Dialect
from domain.credentials.resolution import Receipt, Route
from domain.endpoints.rules import endpoint_fault
from domain.errors import ProviderUnavailableError, ServiceError
from keyledger.llm.answers.bounds import MIB
from keyledger.llm.means import CurrentMeans
from keyledger.llm.metering import Use
from keyledger.llm.native.headers import to_caller, to_provider
from keyledger.llm.requests.provider_addresses import ANTHROPIC_VERSION, reach_of
from keyledger.llm.wire.dialling import Lookup
from keyledger.llm.wire.dispatch import CallFailedError, Dispatcher, Timeouts
from keyledger.llm.wire.lease import Lease
from keyledger.llm.wire.observation import Seen, note_answer
from keyledger.llm.wire.outcomes import native_outcome
from keyledger.llm.wire.reading import Limits, Reading
from keyledger.llm.wire.scrubbing import Scrubber

ANSWER_MAX = 1024 * MIB
"""Bytes of one answer: what providers keep as the largest file, with room to spare."""

_DECODED = frozenset({"", "identity", "gzip", "deflate", "br", "zstd"})
_BINARY = ("audio/", "image/", "video/", "font/", "application/octet-stream", "application/pdf", "application/zip")


class PassThrough:
    """The providers' own APIs for one event loop. Implements `domain.calls.native.NativeApis`.

    means: what calls that begin now are made with. lookup: how the names of tenants' endpoints are resolved, by the
    machine when left out. meter: counts the calls that tenants' own credentials serve.
    """

    def __init__(
        self,
        means: CurrentMeans,
        timeouts: Timeouts | None = None,
        lookup: Lookup | None = None,
        *,
        meter: UsageMeter,
    ) -> None:
        self._means = means
        self._meter = meter
        self._dispatcher = Dispatcher(lambda: means().rules, timeouts, lookup)

    async def start(self) -> None:
        """Do nothing: calls open connections as they need them."""

    async def stop(self) -> None:
        """Close all connections."""
        await self._dispatcher.aclose()

    async def call(self, call: NativeCall) -> NativeAnswer:
        """Send one request and return its answer as soon as that begins."""
        means = self._means()
        resolved = await means.resolver.resolve(call.tenant_id, call.provider, tenant_capable=True)
        route, receipt = resolved.route, resolved.receipt
        # The rules may have become stricter since the endpoint was stored.
        if route.tenant_endpoint and endpoint_fault(
            route.base_url, means.rules, self_hosted=route.provider.self_hosted
        ):
            raise ProviderUnavailableError(call.provider, "endpoint-not-allowed")
        reach = reach_of(route)
        url = URL(reach.url(call.path, call.query), encoded=True)
        lease = Lease(reach.origin, reach.header, route.tenant_endpoint, True, resolved.secret)
        lease.self_hosted = route.provider.self_hosted
        del resolved
        use = Use(self._meter, call.tenant_id, receipt, lease.seen)
        with use:
            answered = await self._send(lease, call, url, route, use)
        if isinstance(answered, NativeAnswer):
            return answered
        use.ended(failed=True)
        raise answered

    async def _send(
        self, lease: Lease, call: NativeCall, url: URL, route: Route, use: Use
    ) -> NativeAnswer | ServiceError:
        """Return the answer or what is said instead. Raises nothing with an answer at hand: its request has the key."""
        receipt = route.receipt
        try:
            headers = _headers(call, route.provider.dialect)
            deadline = self._dispatcher.deadline()
            answer = await self._dispatcher.send(lease, call.method, url, headers, _content(call), deadline)
            if answer is not None:
                note_answer(lease.seen, answer, streaming=False)
                if answer.headers.get("content-encoding", "").strip().lower() not in _DECODED:
                    lease.seen.failure = "answer-encoding-unknown"
            fault = native_outcome(lease.seen, receipt)
            if answer is not None and fault is None and lease.secret is not None:
                return _passed_on(answer, lease, call.method, receipt, self._dispatcher.pause, use)
            if answer is not None:
                answer.close()  # a kept connection would keep what nobody reads, which may repeat the key
        except CallFailedError as refused:
            fault = ProviderUnavailableError(call.provider, str(refused))
        finally:
            lease.close()
        return fault or ProviderUnavailableError(call.provider, "no-answer")


class _Pieces:
    """The rest of an answer. The call ends with it."""

    def __init__(self, reading: Reading, seen: Seen, receipt: Receipt, use: Use) -> None:
        self._reading = reading
        self._seen = seen
        self._receipt = receipt
        self._use = use

    async def next(self) -> bytes | None:
        piece = await self._reading.next()
        if piece is None:
            self._use.ended(failed=self._reading.broken)
        if piece is None and self._reading.broken:
            raise native_outcome(self._seen, self._receipt) or ProviderUnavailableError(
                self._receipt.provider, "broken"
            )
        return piece

    def drop(self) -> None:
        self._use.ended()
        self._reading.drop()


def _headers(call: NativeCall, dialect: Dialect) -> list[tuple[str, str]]:
    headers = to_provider(call.headers)
    headers.append(("accept-encoding", "identity"))
    names = {name for name, _ in headers}
    if dialect is Dialect.ANTHROPIC and "anthropic-version" not in names:
        headers.append(("anthropic-version", ANTHROPIC_VERSION))
    if "user-agent" not in names:
        headers.append(("user-agent", "keyledger"))
    if call.length is not None and not isinstance(call.body, bytes):
        headers.append(("content-length", str(call.length)))  # many providers take no body without a length
    return headers


def _content(call: NativeCall) -> bytes | AsyncIterable[bytes] | None:
    return call.body or None if isinstance(call.body, bytes) else call.body


def _passed_on(
    answer: aiohttp.ClientResponse, lease: Lease, method: str, receipt: Receipt, pause: float, use: Use
) -> NativeAnswer:
    assert lease.secret is not None  # noqa: S101  the caller looked
    scrubber = Scrubber(lease.secret.reveal(), text=not answer.headers.get("content-type", "").startswith(_BINARY))
    headers = to_caller(answer.raw_headers, scrubber.found_in)
    if method == "HEAD" and "content-encoding" not in answer.headers and "content-length" in answer.headers:
        headers.append((b"content-length", answer.headers["content-length"].encode("ascii", "replace")))
    reading = Reading(answer, lease.seen, scrubber, Limits(ANSWER_MAX, pause, None))
    whole = reading.rest_at_hand()
    if whole is not None:
        use.ended()
    pieces = _Pieces(reading, lease.seen, receipt, use) if whole is None else None
    return NativeAnswer(receipt, answer.status, headers, whole, pieces)
