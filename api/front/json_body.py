"""The body of a request: one JSON object that means one thing only (RFC 8259 and I-JSON, RFC 7493), read once.

Promises: `Exchange.body` is one object that arrived in time and within its limit, or None. The value that `parse`
returns can be encoded again, is unambiguous and cannot exhaust the stack. A long text is parsed in a thread, one at a
time and one of each service key in turn, after its structure was found to be within bounds. The API key in a body is
noted, so that no other text of the request is stored with it; a reason that contains a key is refused.
Refuses: other media types, encodings and content encodings, a byte order mark, duplicate names, NaN and infinities,
numbers out of range, lone surrogates, deep nesting, more values than a call can need. No error repeats any part of the
body.
"""

import asyncio
import json
import math
import re
from collections.abc import Callable
from typing import Never

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.front.bodies import CLOSE, Limits, announces_body, cut_off, declared_length, refuse, too_large, too_slow
from api.front.bounds.bounded_use import held_of
from api.front.bounds.shares import Held
from api.front.exchange import Json, exchange_of
from api.front.json_structure import check_structure
from api.front.paths import calls_models, is_about_credentials, is_guarded, routed_path
from api.front.problems import HttpError, problem_of
from domain.credentials.secret import Secret
from domain.errors import InvalidField, InvalidRequestError

_WITH_BODY = frozenset({"PUT", "POST", "PATCH"})
PARSED_INLINE_MAX = 64 * 1024
"""Bytes of the longest text parsed on the event loop; a longer one would delay all other requests."""

DEPTH_MAX = 64
_INTEGER_DIGITS = 20
_INTEGER_MAX = 2**64
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class JsonBody:
    """ASGI middleware behind the guard."""

    def __init__(self, app: ASGIApp, *, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._parsing = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body of a request, or refuse it."""
        if scope["type"] != "http" or not is_guarded(path := routed_path(scope)):
            await self._app(scope, receive, send)
            return
        exchange = exchange_of(scope)
        try:
            if scope["method"] in _WITH_BODY and announces_body(headers := Headers(scope=scope)):
                exchange.body = await self._read(path, headers, receive, held_of(scope))
                if is_about_credentials(path):
                    exchange.take_note_of(*_keys_in(exchange.body))
            if exchange.reason is not None:
                exchange.require_no_key("X-Audit-Reason", exchange.reason)
        except (HttpError, InvalidRequestError) as refused:
            refused.__traceback__ = None  # its frames hold the body, and would until the next collection of garbage
            await refuse(problem_of(refused), scope, receive, send, self._limits)
            return
        await self._app(scope, receive, send)

    async def _read(self, path: str, headers: Headers, receive: Receive, held: Held) -> Json | None:
        """Return the object in the body, None for an empty body. Raises HttpError, InvalidRequestError."""
        _check_media_type(headers)
        for_llm = calls_models(path)
        limit = self._limits.llm_bytes if for_llm else self._limits.admin_bytes
        seconds = self._limits.llm_seconds if for_llm else self._limits.admin_seconds
        if declared_length(headers) > limit:
            raise too_large(limit)
        try:
            async with asyncio.timeout(seconds):
                text = await _received(receive, limit, held.take_bytes if for_llm else _uncounted)
        except TimeoutError:
            raise too_slow(seconds) from None
        return await self._object_of(text, held) if text else None

    async def _object_of(self, text: bytes, held: Held) -> Json:
        if len(text) <= PARSED_INLINE_MAX:
            value = parse_bounded(text)
        else:
            async with held.turn(), self._parsing:
                value = await run_in_threadpool(parse_bounded, text)
        if not isinstance(value, dict):
            raise InvalidRequestError([InvalidField("the body", "must be a JSON object")])
        return value


def parse_bounded(text: bytes) -> object:
    """Return the value of a text whose structure, if it is long, is counted first.

    Raises HttpError, and InvalidRequestError for too much structure.
    """
    if len(text) > PARSED_INLINE_MAX:
        check_structure(text)
    return parse(text)


def parse(text: bytes) -> object:
    """Return the value of a JSON text in UTF-8. Raises HttpError."""
    if text.startswith(_BYTE_ORDER_MARK):
        raise _malformed("it begins with a byte order mark")
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_integer,
        )
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    except RecursionError:
        raise _malformed(_too_deep()) from None
    except ValueError:
        raise _malformed("its syntax is broken") from None
    _check_depth(value)
    if _SURROGATE.search(text):
        _check_surrogates(value)
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _malformed("a name occurs twice in one object")
    return members


def _constant(_: str) -> Never:
    raise _malformed("NaN and Infinity are not JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _malformed("a number is out of range")
    return value


def _integer(text: str) -> int:
    if len(text) > _INTEGER_DIGITS + 1 or abs(int(text)) >= _INTEGER_MAX:
        raise _malformed("an integer is longer than 64 bits")
    return int(text)


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [child for item in level for child in _children(item) if isinstance(child, dict | list)]
        if not level:
            return
    raise _malformed(_too_deep())


def _children(item: object) -> list[object]:
    if isinstance(item, dict):
        return list(item.values())
    return item if isinstance(item, list) else []


def _check_surrogates(value: object) -> None:
    """Look at one string after the other: encoding them together would hold up every other thread."""
    level = [value]
    try:
        while level:
            for item in level:
                if isinstance(item, str):
                    item.encode()
                elif isinstance(item, dict):
                    "".join(item).encode()
            level = [child for item in level for child in _children(item)]
    except UnicodeEncodeError:
        raise _malformed("a string holds half of a surrogate pair") from None


def _too_deep() -> str:
    return f"it is nested more than {DEPTH_MAX} levels deep"


def _malformed(why: str) -> HttpError:
    return HttpError("malformed-json", f"The body is not acceptable JSON: {why}.")


def _uncounted(size: int) -> None:
    """Count nothing: an administrator's body is short."""


async def _received(receive: Receive, limit: int, take_bytes: Callable[[int], None]) -> bytes:
    """Return a whole body. Raises HttpError, also what `take_bytes` raises for the size of a piece."""
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise cut_off()
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        take_bytes(len(chunk))
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


def _check_media_type(headers: Headers) -> None:
    kind, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    encoded = headers.get("content-encoding", "identity").strip().lower() != "identity"
    if kind.strip().lower() != "application/json" or charset not in {"", "charset=utf-8"} or encoded:
        detail = "Send the body as application/json in UTF-8, without a content encoding."
        raise HttpError("unsupported-media-type", detail, CLOSE)


def _keys_in(body: Json | None) -> tuple[Secret, ...]:
    """Return the API key in a body that sets a credential."""
    key = (body or {}).get("api_key")
    return (Secret(key.strip()),) if isinstance(key, str) else ()
