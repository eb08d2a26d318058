"""Sends the request of a call with its lease's key, and reads the answer.

Promises: a request has the headers listed here and no others; for the rest see `dispatch`. A 2xx answer is returned
without the key and within its bounds (see `checking`); everything else is CallFailedError, and the lease's observation
says what happened. Other tasks run between two events of a stream. No exception raised here holds a key, nor does its
traceback.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from yarl import URL

from domain.credentials.secret import Secret
from domain.endpoints.rules import EndpointRules
from domain.request_context import SERVICE_KEY
from keyledger.llm.answers.bounded_json import TOO_LARGE, InvalidAnswerError
from keyledger.llm.answers.bounds import EVENT_MAX, STREAM_EVENTS_MAX, Bounds
from keyledger.llm.answers.checking import checked_chat, checked_embeddings, checked_event
from keyledger.llm.answers.provider_codes import BODY_MAX, KEY_REFUSED, provider_code
from keyledger.llm.answers.server_sent_events import DONE, ERROR, server_sent_events
from keyledger.llm.requests.prepared import Prepared
from keyledger.llm.wire.answer_reader import ENCODING_UNKNOWN, AnswerReader, Limits, is_readable
from keyledger.llm.wire.dialling import Lookup
from keyledger.llm.wire.dispatch import CallFailedError, Dispatcher, Timeouts
from keyledger.llm.wire.idle_connections import IdleConnections
from keyledger.llm.wire.key_forms import KeyForms
from keyledger.llm.wire.lease import Lease
from keyledger.llm.wire.observation import Observation, note_answer
from keyledger.llm.wire.provider_answer import ProviderAnswer
from keyledger.llm.wire.turns import Turns

AT_ONCE_MAX = 64 * 1024
"""Bytes; checking a smaller response takes less time than starting a thread."""
PIECE_MAX = 16 * 1024
ERROR_S = 5.0
"""Seconds for the body of an error: its status is known, so a slow one is not waited for."""

_HEADERS = (
    ("accept", "*/*"),
    ("content-type", "application/json"),
    ("accept-encoding", "identity"),
    ("user-agent", "keyledger"),
)


class Wire:
    """The transport of one event loop."""

    def __init__(
        self,
        rules: Callable[[], EndpointRules],
        timeouts: Timeouts | None = None,
        lookup: Lookup | None = None,
        idle: IdleConnections | None = None,
    ) -> None:
        """rules, timeouts, lookup, idle: as for `Dispatcher`."""
        self._dispatcher = Dispatcher(rules, timeouts, lookup, idle)
        self._turns = Turns()

    async def send(self, lease: Lease, url: str, prepared: Prepared) -> None:
        """Send the one request of a lease; `whole` or `events` then read its answer. Raises CallFailedError."""
        deadline = self._dispatcher.deadline()
        await self._begin(lease, URL(url, encoded=True), prepared, deadline)
        if lease.answer is None:
            raise CallFailedError("no-answer")

    async def _begin(self, lease: Lease, url: URL, prepared: Prepared, deadline: float) -> None:
        """Send the request, record the result, and store a readable answer in the lease.

        Once there is an answer nothing is raised, because its request holds the key.
        """
        headers = (*_HEADERS, *prepared.headers)
        answer = await self._dispatcher.send(lease, "POST", url, headers, prepared.body, deadline)
        if answer is None:
            return
        note_answer(lease.observation, answer, lease.rejects_with, streaming=lease.streaming)
        if lease.observation.accepted and not is_readable(answer):
            lease.observation.failure = ENCODING_UNKNOWN
        if lease.observation.accepted and lease.secret is not None:
            limits = Limits(lease.bounds.size, self._dispatcher.pause, None if lease.streaming else deadline)
            turns = self._turns.of(SERVICE_KEY.get(""), lease.owner.tenant_id)
            lease.answer = AnswerReader(answer, lease.observation, KeyForms(lease.secret.reveal()), limits, turns)
        elif lease.secret is not None and is_readable(answer) and not lease.observation.rejected:
            await self._note_code(lease, lease.secret, answer)
        else:
            answer.close()  # a pooled connection would keep the unread body, which may repeat the key

    async def _note_code(self, lease: Lease, secret: Secret, answer: ProviderAnswer) -> None:
        """Note the code of a provider's error."""
        deadline = asyncio.get_running_loop().time() + ERROR_S
        turns = self._turns.of(SERVICE_KEY.get(""), lease.owner.tenant_id)
        limits = Limits(BODY_MAX, self._dispatcher.pause, deadline)
        reader = AnswerReader(answer, Observation(), KeyForms(secret.reveal()), limits, turns)
        try:
            pieces = [piece async for piece in _pieces(reader)]
        except CallFailedError:
            return
        finally:
            reader.drop()
        lease.observation.code = provider_code(b"".join(pieces), lease.observation.status)
        lease.observation.rejected = lease.observation.code in KEY_REFUSED

    async def aclose(self) -> None:
        """Close all connections."""
        await self._dispatcher.aclose()


async def whole(lease: Lease) -> dict[str, Any]:
    """Return the whole answer of a lease whose request was sent. Raises CallFailedError."""
    text, check = b"".join([piece async for piece in _pieces(_reader(lease))]), _check(lease)
    try:
        if len(text) <= AT_ONCE_MAX:
            return check(text, lease.bounds)
        return await asyncio.to_thread(check, text, lease.bounds)
    except InvalidAnswerError as error:
        lease.observation.failure = error.reason
    raise CallFailedError("answer-refused")


async def events(lease: Lease) -> AsyncIterator[dict[str, Any]]:
    """Yield the events of a streamed answer, as far as `[DONE]` or its end. Raises CallFailedError."""
    reader, count = _reader(lease), 0
    try:
        async for event in server_sent_events(_pieces(reader), EVENT_MAX):
            if event.data.strip() == DONE and event.name != ERROR:
                lease.observation.marked = True
                return
            count += 1
            if count > STREAM_EVENTS_MAX:
                raise InvalidAnswerError(TOO_LARGE)
            yield checked_event(event, lease.bounds)
            await asyncio.sleep(0)
    except InvalidAnswerError as error:
        lease.observation.failure = error.reason
    else:
        return
    finally:
        reader.drop()
    raise CallFailedError("answer-refused")


def _reader(lease: Lease) -> AnswerReader:
    if lease.answer is None:
        raise CallFailedError("no-answer")
    return lease.answer


def _check(lease: Lease) -> Callable[[bytes, Bounds], dict[str, Any]]:
    return checked_embeddings if lease.bounds.items else checked_chat


async def _pieces(reader: AnswerReader) -> AsyncIterator[bytes]:
    """Yield a response as it arrives. Raises CallFailedError where it breaks off."""
    while (piece := await reader.next()) is not None:
        for start in range(0, len(piece), PIECE_MAX):
            yield piece[start : start + PIECE_MAX]
            await asyncio.sleep(0)  # pieces that have arrived are read without waiting, so let other tasks run
    if reader.broken:
        raise CallFailedError("answer-broken")
