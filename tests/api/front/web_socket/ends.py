"""The two ends of a relayed side in memory: a pipe whose bytes a test moves, and a library's end opposite to it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from websockets.frames import Frame
from websockets.protocol import Protocol, Side

from api.front.web_socket.pipe import Pipe
from api.front.web_socket.side import SILENT, SocketSide
from domain.calls.web_socket import Message


@dataclass
class Wire:
    """A transport that keeps what is written. paused: reading is."""

    written: bytearray = field(default_factory=bytearray)
    paused: bool = False
    closed: int = 0

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed > 0

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def close(self, stalled: bool) -> None:
        self.closed += 1


@dataclass
class Ends:
    """One side under test, what was held of it, and the library's end opposite."""

    role: Side
    wire: Wire = field(default_factory=Wire)
    held: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pipe = Pipe(self.wire, self.wire, self.wire.close)
        self.side = SocketSide(self.pipe, self.role, self.held.append)
        self.peer = Protocol(Side.CLIENT if self.role is Side.SERVER else Side.SERVER, logger=SILENT)

    def peer_bytes(self) -> bytes:
        return b"".join(self.peer.data_to_send())

    def heard(self) -> Sequence[Frame]:
        """Return the frames that the side has sent since the last time."""
        data = bytes(self.wire.written)
        self.wire.written.clear()
        self.peer.receive_data(data)
        return [event for event in self.peer.events_received() if isinstance(event, Frame)]

    async def all_of(self, *arriving: bytes) -> list[Message]:
        """Let bytes arrive, then the end of the connection; return the messages."""

        async def arrive() -> None:
            for data in arriving:
                self.pipe.arrived(data)
                await asyncio.sleep(0)
            self.pipe.end()

        arrives = asyncio.create_task(arrive())
        messages = []
        while (message := await self.side.next()) is not None:
            messages.append(message)
        await arrives
        return messages


def run(ends: Ends, *arriving: bytes) -> list[Message]:
    return asyncio.run(ends.all_of(*arriving))
