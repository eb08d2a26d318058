"""Limits on request bodies, and answers to requests whose body is still arriving.

Promises: nothing is read beyond a limit; a client that is still sending when it is refused receives the answer.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from api.front.problems import HttpError, Problem, problem_response
from api.front.stored_key_in_id import keep_stored_key_out

CLOSE = {"Connection": "close"}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a body is read, in bytes, and how long it may take to arrive, in seconds.

    native: bodies for a provider's own API, files included; its seconds apply to each piece.
    linger: limits on a body that is read and discarded after an error.
    """

    admin_bytes: int = 16 * 1024
    admin_seconds: float = 5.0
    llm_bytes: int = 8 * 1024 * 1024
    llm_seconds: float = 30.0
    native_bytes: int = 512 * 1024 * 1024
    native_seconds: float = 30.0
    linger_bytes: int = 64 * 1024
    linger_seconds: float = 1.0


def announces_body(headers: Headers) -> bool:
    """Say whether a body follows the headers."""
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip("0") != ""


def declared_length(headers: Headers) -> int:
    """Return the length that the headers declare, 0 where they declare none. Raises HttpError."""
    declared = headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdigit() and len(declared) < 19):
        raise HttpError("malformed-header", "Content-Length is not a number of bytes.", CLOSE)
    return int(declared)


def too_large(limit: int) -> HttpError:
    """Return the error for a body over `limit` bytes."""
    return HttpError("body-too-large", f"The body may have at most {limit} bytes.", CLOSE)


def too_slow(seconds: float) -> HttpError:
    """Return the error for a body, or of a piece of one, that did not arrive within `seconds`."""
    return HttpError("request-timeout", f"The body did not arrive within {seconds:g} s.", CLOSE)


def cut_off() -> HttpError:
    """Return the error for a body that ended with its connection; no client is left to read it."""
    return HttpError("request-timeout", "The connection ended before the body did.", CLOSE)


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
    """Answer with a problem. Where its headers close the connection, the rest of the body is first discarded."""
    await keep_stored_key_out(scope, problem.status)
    answer = problem_response(problem, scope)
    if problem.headers.get("Connection") != "close":
        await answer(scope, receive, send)
        return
    await answer(scope, receive, _held(send))
    # Closing while the client is still sending would reset the connection, and the client would miss the answer.
    with suppress(TimeoutError, HttpError):
        async with asyncio.timeout(limits.linger_seconds):
            await _drain(receive, limits.linger_bytes)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive, limit: int) -> None:
    """Discard the rest of a body, up to `limit` bytes."""
    size, more = 0, True
    while more and size <= limit:
        message = await receive()
        size += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)


def _held(send: Send) -> Send:
    """Return a `send` that passes an answer on without ending the connection."""

    async def held(message: Message) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    return held
