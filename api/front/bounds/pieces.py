"""Answers of many bytes, sent in pieces.

Promises: no more of an answer waits in the server than its client is slow by, a piece or two, and the answer's request
ends when the last piece has been handed over, so that what the request holds is held for no longer and no shorter.
"""

from starlette.types import Message, Send

PIECE = 64 * 1024


async def send_in_pieces(send: Send, message: Message) -> None:
    """Send one message; a long piece of a body as several short ones."""
    body = message.get("body", b"")
    if len(body) > PIECE:
        whole = memoryview(body)
        last = (len(body) - 1) // PIECE * PIECE
        for start in range(0, last, PIECE):
            await send({**message, "body": bytes(whole[start : start + PIECE]), "more_body": True})
        message = {**message, "body": bytes(whole[last:])}
    await send(message)
