"""One untranslated answer on its way to the client.

Promises: an answer that breaks off stays incomplete, so that no client mistakes it for a complete one; a stream of
events that does ends with an event that has an `error` in our own words, in the form of the OpenAI API.
"""

from starlette.types import Send

from api.front.json_response import encode
from api.front.problems import openai_error, problem_of
from api.rest.calls.receipts import receipt_headers
from domain.calls.native import NativeAnswer, Pieces
from domain.credentials.resolution import Receipt
from domain.errors import ServiceError


class Answering:
    """One answer. begun: its head was sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def pass_on(self, answer: NativeAnswer, *, bodiless: bool, closing: bool) -> None:
        """Send an answer. Raises the ServiceError that it breaks off with.

        bodiless: to HEAD. closing: the request's body was not read, so the connection has to end.
        """
        headers = [*answer.headers]
        headers += [(name.lower().encode(), text.encode()) for name, text in receipt_headers(answer.receipt).items()]
        if closing:
            headers.append((b"connection", b"close"))
        if answer.pieces is None:
            whole = answer.whole or b""
            if not bodiless and answer.status not in {204, 304}:
                headers.append((b"content-length", b"%d" % len(whole)))
            await self._start(answer.status, headers)
            await self._send({"type": "http.response.body", "body": whole})
            return
        headers.append((b"x-accel-buffering", b"no"))  # buffering by a proxy would defeat streaming
        try:
            await self._start(answer.status, headers)
            await self._send_all(answer.pieces)
        except ServiceError as error:
            if answer.events:
                await self._send({"type": "http.response.body", "body": _error_event(error)})
            raise
        finally:
            answer.pieces.drop()

    async def switch(self, headers: list[tuple[bytes, bytes]], receipt: Receipt) -> None:
        """Begin an answer with which the connection leaves HTTP. Raises HttpError if it cannot."""
        headers += [(name.lower().encode(), text.encode()) for name, text in receipt_headers(receipt).items()]
        await self._send({"type": "http.response.start", "status": 101, "headers": headers})
        self.begun = True

    async def _send_all(self, pieces: Pieces) -> None:
        while (piece := await pieces.next()) is not None:
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})


def _error_event(error: ServiceError) -> bytes:
    """Return an event that clients of every API in OpenAI's form take for an error; it ends one that was cut off."""
    described = openai_error(problem_of(error))
    said = {"type": "error", "code": described["code"], "message": described["message"], "param": None}
    return b"\n\nevent: error\ndata: " + encode({**said, "error": described}) + b"\n\n"
