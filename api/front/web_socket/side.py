"""One side of a relayed WebSocket: whole messages out of frames, and frames out of messages.

Promises: a message is joined out of its fragments, at most `MESSAGE_MAX` bytes long, and UTF-8 where it is text. What
breaks RFC 6455 ends the side with the code that the standard gives: masked frames of a server and plain ones of a
client, reserved bits (so compression, which is never agreed on), long or fragmented control frames. Pings are answered
here and not passed on. Other tasks run between steps of `STEP` bytes, however many frames they hold. Nothing that
passes is logged, at any level.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from time import perf_counter

from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side

from api.front.web_socket.pipe import Pipe
from domain.calls.web_socket import MESSAGE_MAX, Ending, Message

STEP = 2 * 1024
"""Bytes in which there may be a thousand frames, which take some milliseconds."""
_INVALID_DATA, _NO_CODE = 1007, 1005

SILENT = logging.Logger("keyledger.web_socket", level=logging.CRITICAL + 1)  # noqa: LOG001  outside every hierarchy
"""The library logs frames and headers to the logger that it is given."""

CALLER, PROVIDER = Side.SERVER, Side.CLIENT
"""The side of a caller, to whom this service is the server, and that of a provider, to whom it is the client."""


async def _let_others_run(seconds: float) -> None:
    del seconds
    await asyncio.sleep(0)


class SocketSide:
    """One side. ending: once it has ended.

    held: called with the number of bytes of messages that are held now; may raise an error. rest: called between two
    steps, with the seconds that the first one took; lets other tasks run.
    """

    def __init__(
        self,
        pipe: Pipe,
        side: Side,
        held: Callable[[int], None] = lambda size: None,
        rest: Callable[[float], Awaitable[None]] = _let_others_run,
    ) -> None:
        self.ending: Ending | None = None
        self._pipe = pipe
        self._protocol = Protocol(side, max_size=MESSAGE_MAX, logger=SILENT)
        self._held = held
        self._rest = rest
        self._ahead = b""
        self._messages: deque[Message] = deque()
        self._fragments: list[bytes] = []
        self._text = False
        self._partial = self._queued = self._handed = 0  # bytes: unfinished, waiting, and handed on last

    async def next(self) -> Message | None:
        """Return the next message; None once the side has ended. Raises what `held` raises."""
        if self._handed:
            self._handed = 0
            self._report()
        while not self._messages and self.ending is None:
            if not self._ahead:
                self._ahead = await self._pipe.read()
            if not self._ahead:
                self._protocol.receive_eof()
                self._look()
                break
            step, self._ahead = self._ahead[:STEP], self._ahead[STEP:]
            await self._take(step)
        if not self._messages:
            return None
        message = self._messages.popleft()
        self._handed = len(message.data)
        self._queued -= self._handed
        return message

    async def send(self, message: Message) -> None:
        """Send a message, unless the side has ended. Returns once the other side has taken most of what waits."""
        if self._protocol.state is OPEN:
            send = self._protocol.send_text if message.text else self._protocol.send_binary
            send(message.data)
            await self._flush()

    def close(self, code: int | None, reason: str = "") -> None:
        """Close the side, with a close frame where none has been sent, and the connection. Does not wait."""
        if self._protocol.state is OPEN:
            self._protocol.send_close(code, reason)
        self._pipe.write_soon(self._to_send())
        self._pipe.close()

    async def _take(self, step: bytes) -> None:
        begun = perf_counter()
        self._partial += len(step)
        self._protocol.receive_data(step)
        for frame in self._protocol.events_received():
            assert isinstance(frame, Frame)  # noqa: S101  handshakes are not made here
            self._take_frame(frame)
        self._look()
        self._report()
        await self._flush()
        if self._ahead:
            await self._rest(perf_counter() - begun)

    def _take_frame(self, frame: Frame) -> None:
        if frame.opcode in {Opcode.TEXT, Opcode.BINARY}:
            self._text = frame.opcode is Opcode.TEXT
        elif frame.opcode is not Opcode.CONT:
            return
        self._fragments.append(bytes(frame.data))
        if not frame.fin or self.ending is not None:
            return
        data = self._fragments[0] if len(self._fragments) == 1 else b"".join(self._fragments)
        self._fragments = []
        if self._text and not _is_utf8(data):
            self._protocol.fail(_INVALID_DATA)
            self.ending = Ending(broken="text-not-utf-8")
            return
        self._messages.append(Message(data, self._text))
        self._queued += len(data)
        self._partial = 0

    def _report(self) -> None:
        self._held(self._partial + self._queued + self._handed)

    def _look(self) -> None:
        """See whether the side has ended."""
        if self.ending is not None:
            return
        error, received = self._protocol.parser_exc, self._protocol.close_rcvd
        if isinstance(error, EOFError):
            self.ending = Ending(broken="connection-lost")
        elif error is not None:
            too_big = isinstance(error, PayloadTooBig)
            self.ending = Ending(broken="message-too-large" if too_big else "protocol-broken")
        elif received is not None:
            self.ending = Ending(None if received.code == _NO_CODE else received.code, received.reason)

    async def _flush(self) -> None:
        await self._pipe.write(self._to_send())

    def _to_send(self) -> bytes:
        return b"".join(self._protocol.data_to_send())


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
