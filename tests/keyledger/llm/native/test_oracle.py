"""Nothing that a caller can observe of an answer depends on the key, so that no guess can be tried with it."""

import asyncio
import base64
import gzip
import string
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from domain.calls.native import NativeCall
from domain.endpoints.rules import EndpointRules
from domain.errors import ServiceError
from keyledger.llm import CallConfiguration, PassThrough, Timeouts
from keyledger.llm.wire.observation import Observation
from keyledger.llm.wire.provider_call import CUT_OFF
from keyledger.llm.wire.scrubbing import HOLD, STEP
from keyledger.llm.wire.turns import Turns
from tests.keyledger.llm.fed_answer import FedAnswer, reader_of
from tests.keyledger.llm.rig import Keys, catalogue
from tests.support.meter import ListeningMeter
from tests.support.native_provider import NativeProvider, native_provider

SHORT, LONG = "sk-proj-Qx7_vT3", "sk-proj-Qx7mLw9Za4Rk2YbN8uCe0PdGh5Jf6Ts1Vi"
ROUNDS = 4
"""Rounds of the event loop in which everything that may leave has left."""

Left = list[list[bytes]]


async def _at_once(_seconds: float) -> None:
    """Rest for one round of the event loop, however long a step took here."""
    await asyncio.sleep(0)


async def observe(key: str, pieces: Iterable[bytes], *, cut: bool = False, **headers: str) -> tuple[Left, Any]:
    """Return what leaves after each piece of an answer and at its end, and how it ends. cut: it breaks off."""
    answer, observation = FedAnswer(headers=headers), Observation()
    reader = reader_of(answer, key, observation, Turns(_at_once))
    assert await reader.rest_at_hand() is None
    left: Left = [[]]

    async def read() -> None:
        while (piece := await reader.next()) is not None:
            left[-1].append(piece)

    reading = asyncio.ensure_future(read())
    for piece in pieces:
        answer.content.feed(piece)
        for _ in range(ROUNDS + 2 * len(piece) // STEP):
            await asyncio.sleep(0)
        left.append([])
    if cut:
        answer.content.end(CUT_OFF)
    else:
        answer.content.end()
    await reading
    return left, (reader.broken, observation.failure)


def guesses() -> dict[str, bytes]:
    """Ends of bodies that begin a key in one form or another."""
    found: dict[str, bytes] = {}
    for key, length in product((SHORT, LONG), (3, 11, 15, 30)):
        beginning = key[: min(length, len(key) - 1)]
        encoded = base64.b64encode(beginning.encode()).rstrip(b"=")
        found |= {
            f"{beginning} as it is": beginning.encode(),
            f"{beginning} in upper case": beginning.upper().encode(),
            f"{beginning} escaped": "".join(f"\\u{ord(c):04x}" for c in beginning).encode(),
            f"{beginning} escaped, cut": "".join(f"\\u{ord(c):04x}" for c in beginning).encode()[:-2],
            f"{beginning} in HTML": "".join(f"&#{ord(c)};" for c in beginning).encode(),
            f"{beginning} in a URL": quote(beginning, safe="").encode() + b"%",
            f"{beginning} in base64": encoded,
        }
    return found


ESCAPES = b"".join(b"\\u%04x" % ord(c) for c in string.printable[:94])
SPLITS: dict[str, Callable[[bytes], list[bytes]]] = {
    "whole": lambda body: [body],
    "the end apart": lambda body: [body[:-1], body[-1:]],
    "bytes at the end": lambda body: [body[:-12], *(bytes([byte]) for byte in body[-12:])],
    "long": lambda body: [b"x" * (HOLD + STEP) + body[:20], body[20:], body],
}
MEDIA = ("application/json", "text/event-stream", "application/jsonl", "application/octet-stream")


def test_what_leaves_and_when_is_the_same_for_two_tenants():
    async def compare() -> int:
        shapes = 0
        for (name, guess), split, media in product(guesses().items(), SPLITS, MEDIA):
            for body in (b'{"a": "' + guess, b"data: one\n\ndata: " + ESCAPES + guess):
                pieces = SPLITS[split](body)
                one = await observe(SHORT, pieces, content_type=media)
                assert one[1] == (False, None)
                assert one == await observe(LONG, pieces, content_type=media), (name, split, media)
                assert b"".join(piece for after in one[0] for piece in after) == b"".join(pieces)
                shapes += 1
        return shapes

    assert asyncio.run(compare()) > 300


ODD = {
    "gzip": (gzip.compress(ESCAPES * 400), {"content_encoding": "gzip"}),
    "gzip that is cut off": (gzip.compress(ESCAPES * 400)[:-9], {"content_encoding": "gzip"}),
    "gzip in name only": (b"sk-proj-Qx7" * 9, {"content_encoding": "gzip"}),
    "gzip of too much": (gzip.compress(bytes(2**22)), {"content_encoding": "gzip"}),
    "gzip without a header": (gzip.compress(b"sk-proj-Qx7" * 9), {}),
    "gzip without a header, long": (gzip.compress(bytes(range(256)) * 900, 0), {}),
    "gzip without a header, of too much": (gzip.compress(bytes(2**22)), {}),
    "nothing": (b"", {}),
    "a byte": (b"s", {}),
    "two bytes": (b"\x1f\x8b", {}),
}


@pytest.mark.parametrize("cut", [False, True], ids=["ended", "cut off"])
@pytest.mark.parametrize(("body", "headers"), ODD.values(), ids=ODD)
def test_an_odd_answer_ends_in_the_same_way_for_two_tenants(body, headers, cut):
    async def compare() -> None:
        for size in (max(7, len(body) // 40), 5000, 10**9):
            pieces = [body[at : at + size] for at in range(0, min(len(body), 200_000), size)]
            one = await observe(SHORT, pieces, cut=cut, **headers)
            assert one == await observe(LONG, pieces, cut=cut, **headers)
            assert one == await observe("sk-none-at-all", pieces, cut=cut, **headers)

    asyncio.run(compare())


@pytest.mark.parametrize("media", MEDIA)
def test_ten_thousand_guesses_at_the_next_letter_learn_nothing(media):
    letters = string.ascii_letters + string.digits + "-_"

    async def guess() -> int:
        tried = 0
        for known in range(len(LONG) - 1):
            seen = set()
            before = f"data: {LONG[:known]}".encode()
            for letter in letters:
                body = before + letter.encode()
                left, ended = await observe(LONG, [body[:-1], body[-1:]], content_type=media)
                seen.add((tuple(tuple(map(len, after)) for after in left), ended))
                tried += 1
            assert seen == {(((), (), (len(before) + 1,)), (False, None))}
        return tried

    assert asyncio.run(guess()) * len(MEDIA) > 10_000


def test_escapes_show_no_character_of_the_key():
    left, _ = asyncio.run(observe(LONG, [b'"' + ESCAPES + b'"']))
    assert left[-1] == [b'"' + ESCAPES + b'"']


async def _echo(request: web.Request) -> web.StreamResponse:
    """Answer as the request asks: with the key in place of `KEY`, if the request says so."""
    key = request.headers["authorization"].removeprefix("Bearer ").encode()
    body = (await request.read()).replace(b"KEY", key)
    headers = {
        name[2:]: text.replace("KEY", key.decode()) for name, text in request.headers.items() if name[:2] == "y-"
    }
    return web.Response(status=int(request.query.get("status", "200")), body=body, headers=headers)


def calls() -> list[dict[str, Any]]:
    """Requests that the provider answers with their own text, in many shapes."""
    guess = LONG[:-1].encode()
    bodies = (
        b"",
        b"{}",
        guess,
        b'{"a": "KEY"}',
        b"KEY",
        b"x" * 100_000 + guess,
        b"x" * 70_000 + b"KEY" + b"y" * 70_000,
    )
    named: tuple[dict[str, str], ...] = ({}, {"y-x-seen": "Bearer KEY", "y-x-fine": "1"}, {"y-x-guess": LONG[:-1]})
    shapes: list[dict[str, Any]] = [
        {"body": body, "query": f"status={status}", "headers": headers}
        for body, status, headers in product(bodies, (200, 201, 400, 401, 404, 429, 500, 503, 302), named)
    ]
    return shapes + [{"method": "HEAD", "headers": headers} for headers in named]


async def _seen(apis: PassThrough, tenant: str, asked: dict[str, Any]) -> Any:
    sent = {"method": "POST", "path": "v1/things", **asked}
    sent["headers"] = [(name.encode(), text.encode()) for name, text in sent["headers"].items()]
    try:
        answer = await apis.call(NativeCall(tenant, "openai", **sent))
        pieces = [answer.whole or b""]
        while answer.pieces is not None and (piece := await answer.pieces.next()) is not None:
            pieces.append(piece)
    except ServiceError as error:
        return type(error), error.code, str(error)
    return answer.status, answer.headers, b"".join(pieces)


def test_two_tenants_with_the_same_traffic_see_the_same():
    async def compare(server: NativeProvider) -> int:
        configuration = CallConfiguration(catalogue(), Keys(server.url, {"one": SHORT, "two": LONG}), EndpointRules())
        apis = PassThrough(lambda: configuration, Timeouts(connect=5, answer=10), meter=ListeningMeter())
        try:
            for asked in calls():
                one, two = [await _seen(apis, tenant, asked) for tenant in ("one", "two")]
                assert one == two, asked
                assert SHORT not in str(one)
            return len(calls())
        finally:
            await apis.stop()

    with native_provider() as server:
        server.answer = _echo
        assert asyncio.run(compare(server)) > 150
