"""One request on a connection and the answer to it.

Promises: what precedes the head of an answer is bounded, and so is what frames its body, because each interim answer
and each chunk takes time to parse. An answer ends once: whole, or with the reason why it is not. Afterwards this object
refers to no connection.
"""

import asyncio
import re

from httptools import HttpParserError

from api.front.web_socket.pipe import Reading
from keyledger.llm.answers.bounded_json import InvalidAnswerError
from keyledger.llm.wire.answer_content import AnswerContent
from keyledger.llm.wire.answer_parser import AnswerHead, AnswerParser
from keyledger.llm.wire.observation import Observation

HEAD_MAX = 64 * 1024
"""Bytes that may arrive before the head of an answer has been read, interim answers (1xx) included."""
HEAD_TOO_LARGE = "answer-head-too-large"
FRAMING_MAX = 64 * 1024
"""Bytes that may frame the body of an answer, in addition to twice its length. Those of interim answers before a body
in chunks are counted as well."""
CHUNKS_TOO_SMALL = "answer-chunks-too-small"
"""The reason for ending an answer with more framing. A chunk is framed by five bytes: those of three may be many."""
LOST = "connection-lost"
CUT_OFF = "answer-cut-off"
NOT_HTTP = "answer-not-http"

_TIMEOUT = re.compile(r"(?i)(?:^|[,;])\s*timeout\s*=\s*\"?([0-9]{1,6})")
_GRACE_S = 1.0
"""Seconds by which a connection is dropped earlier than the provider announces to close it."""


class ProviderCall:
    """One call. content: the body of its answer. parser: of its answer. received: bytes that have arrived for it.

    head: of its answer, once that has arrived. upload: sends the rest of its body. keep_s: seconds for which the
    provider announces to keep the connection, if it does.
    """

    def __init__(self, reading: Reading, observation: Observation, *, bodiless: bool) -> None:
        """reading: of the connection. observation: learns of the framing."""
        self.content = AnswerContent(reading)
        self.parser = AnswerParser(self, bodiless=bodiless)
        self.head: asyncio.Future[AnswerHead] = asyncio.get_running_loop().create_future()
        self.upload: asyncio.Task[None] | None = None
        self.keep_s: float | None = None
        self.received = 0
        self._observation = observation
        self._head_length = 0

    @property
    def unsent(self) -> bool:
        """Whether some of the body has not been sent."""
        return self.upload is not None and not self.upload.done()

    def receive(self, data: bytes) -> str | None:
        """Parse what has arrived. Return why the connection has to end, if it has to."""
        self.received += len(data)
        parser, content = self.parser, self.content
        if not parser.begun and self.received > HEAD_MAX:
            return HEAD_TOO_LARGE
        if parser.begun and self._framing() > FRAMING_MAX + 2 * content.total_bytes:
            return CHUNKS_TOO_SMALL
        try:
            parser.feed(data)
        except HttpParserError:
            return CUT_OFF if parser.begun else NOT_HTTP
        if parser.begun:
            if not parser.chunked:
                self._head_length = self._head_length or self.received - content.total_bytes
            self._observation.framing = self._framing()
        return None

    def head_arrived(self, head: AnswerHead) -> None:
        """Take the head of the answer."""
        if self.parser.chunked:
            self._head_length = head.length
        if (stated := _TIMEOUT.search(head.value(b"keep-alive"))) is not None:
            self.keep_s = max(0.0, int(stated[1]) - _GRACE_S)
        if not self.head.done():
            self.head.set_result(head)

    def body_arrived(self, piece: bytes) -> None:
        """Take bytes of its body."""
        self.content.feed(piece)

    def end(self, failure: str = LOST) -> None:
        """End the call. failure: why its answer is not whole, where it is not."""
        if self.parser.complete and not self.parser.switched:
            self.content.end()
        else:
            failure = CUT_OFF if failure == LOST and self.parser.begun else failure
            self.content.end(failure)
        self.parser.drop()
        if not self.head.done():
            self.head.set_exception(InvalidAnswerError(failure))
            self.head.exception()  # marks it as retrieved: who asked may have been cancelled
        upload, self.upload = self.upload, None
        if upload is not None and upload is not asyncio.current_task():
            upload.cancel()

    def _framing(self) -> int:
        return self.received - self._head_length - self.content.total_bytes
