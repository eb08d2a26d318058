"""Answers of many bytes, sent in pieces and by turns.

Promises: no more of an answer waits in the server than its client is slow by, a piece or two, and the answer's request
ends when the last piece has been handed over, so that what the request holds is held for no longer and no shorter.
In one turn of the event loop, only a few answers send a long piece, however many there are, so other work is not late.
"""

import asyncio

from starlette.types import Message, Send

PIECE = 64 * 1024
_LONG = 16 * 1024
_AT_ONCE = 2
"""Answers that send a long piece in one turn; scrubbing and sending a long piece takes about a millisecond."""


class Pieces:
    """Sends the answers of one application."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def send(self, send: Send, message: Message) -> None:
        """Send one message; a long body in several pieces, and after its turn."""
        body = message.get("body", b"")
        if len(body) > _LONG and message.get("more_body", False):
            async with self._turns:
                await asyncio.sleep(0)
        if len(body) > PIECE:
            whole = memoryview(body)
            last = (len(body) - 1) // PIECE * PIECE
            for start in range(0, last, PIECE):
                await send({**message, "body": bytes(whole[start : start + PIECE]), "more_body": True})
            message = {**message, "body": bytes(whole[last:])}
        await send(message)
