"""The key is in the one request to its provider and nowhere else: not in errors, their tracebacks, logs, answers or
objects that stay. The provider here repeats the key wherever it can."""

import asyncio
import base64
import gc
import hashlib
import json
import logging
from collections.abc import Iterator
from types import FrameType, FunctionType, ModuleType
from typing import Any
from urllib.parse import quote

import pytest

from domain.calls.models import AnswerStream
from domain.credentials.resolution import ResolvedCredential, Route
from domain.credentials.secret import Secret
from domain.errors import ServiceError, StoreUnavailableError
from scripts.demo.stand_in_provider import Failure, Misbehaviour, StandInProvider
from tests.keyledger.llm.rig import (
    HELLO,
    PROVIDERS,
    TENANT,
    WEATHER,
    Keys,
    chunks,
    overdue,
    text_of,
    whole,
    with_gateway,
)

MODELS = [f"{provider}-{adapter}" for provider in PROVIDERS for adapter in ("litellm", "legacy")]
EACH = pytest.mark.parametrize("model", MODELS)
BREAKS = [
    pytest.param(chunks, Misbehaviour(Failure.MID_STREAM_ERROR), id="an error in the middle of a stream"),
    pytest.param(chunks, Misbehaviour(Failure.CUT), id="a cut stream"),
]
WRONGS = [
    ("the key is refused", None),
    ("400", Misbehaviour(Failure.STATUS, status=400)),
    ("429", Misbehaviour(Failure.STATUS, status=429, retry_after="3")),
    ("500", Misbehaviour(Failure.STATUS, status=500)),
    ("redirect", Misbehaviour(Failure.REDIRECT, location="/elsewhere")),
    ("reset", Misbehaviour(Failure.RESET)),
    ("no answer", Misbehaviour(Failure.HANG)),
    ("not JSON", Misbehaviour(Failure.NOT_JSON)),
]
CASES = [
    *(pytest.param(whole, wrong, id=f"{name}, plain") for name, wrong in WRONGS),
    *(pytest.param(chunks, wrong, id=f"{name}, streamed") for name, wrong in WRONGS),
    pytest.param(chunks, Misbehaviour(Failure.MID_STREAM_ERROR), id="an error in the middle of a stream"),
    pytest.param(chunks, Misbehaviour(Failure.CUT), id="a cut stream"),
]


def canary() -> str:
    """Return the key, made again each time, so that no object of the test keeps it."""
    return "".join(["sk-", "can", "ary", hashlib.sha256(b"canary").hexdigest()[:24]])


_LENGTH = len(canary())
"""No spelling of the key is shorter."""


class FreshKeys(Keys):
    """Hands out the canary without holding it."""

    async def resolve(
        self, tenant_id: str, provider: str, *, tenant_capable: bool, admission: object = None
    ) -> ResolvedCredential:
        route: Route = await self.explain(tenant_id, provider, tenant_capable=tenant_capable)
        return ResolvedCredential(route, Secret(canary()))


@pytest.fixture
def server() -> Iterator[StandInProvider]:
    with StandInProvider(accepted=lambda key: key == canary()) as running:
        yield running


_TEXTS = (str, bytes, bytearray)


def _spellings(key: str) -> list[str]:
    written = [key, quote(key, safe=""), base64.b64encode(key.encode()).decode().rstrip("="), json.dumps(key)[1:-1]]
    return list(dict.fromkeys(written))


_BEGINNINGS = [spelling[:9] for spelling in _spellings(canary())]
"""Of every spelling, too little to be the key: looked for first, since hardly any text has one."""


def _holds_canary(value: object) -> bool:
    if not isinstance(value, _TEXTS) or len(value) < _LENGTH:
        return False
    if isinstance(value, str):
        return any(begin in value for begin in _BEGINNINGS) and any(one in value for one in _spellings(canary()))
    return any(begin.encode() in value for begin in _BEGINNINGS) and _holds_canary(value.decode("latin-1"))


def _reachable(start: object) -> Iterator[object]:
    """Yield every object that can be reached from an exception, through its tracebacks and their locals."""
    seen: set[int] = set()
    waiting: list[object] = [start]
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, ModuleType | type | FunctionType | FrameType | StandInProvider):
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, BaseException):
            waiting += [value.args, value.__cause__, value.__context__, vars(value)]
            traceback = value.__traceback__
            while traceback is not None:
                if "/tests/" not in traceback.tb_frame.f_code.co_filename:
                    waiting += traceback.tb_frame.f_locals.values()
                traceback = traceback.tb_next
        else:
            waiting += gc.get_referents(value)


def test_the_search_finds_a_key_that_is_there():
    error = StoreUnavailableError("x")
    error.__context__ = ValueError({"deep": [canary().encode()]})
    assert any(_holds_canary(value) for value in _reachable(error))
    assert _holds_canary(f"x{base64.b64encode(canary().encode()).decode()}")


@EACH
@pytest.mark.parametrize(("how", "wrong"), CASES)
def test_no_error_log_or_traceback_holds_the_key(server, model, how, wrong, caplog):
    if wrong is None:
        server.accepted = frozenset()
    server.misbehave = wrong
    hangs = wrong is not None and wrong.error is Failure.HANG

    async def fail(gateway):
        call = how(gateway, model)
        await (overdue(call, lambda: server.requests) if hangs else call)

    with caplog.at_level(logging.DEBUG), pytest.raises(ServiceError) as caught:
        with_gateway(FreshKeys(server.url), fail)
    error = caught.value
    assert server.requests[0].key == canary()
    assert not [value for value in _reachable(error) if _holds_canary(value)]
    assert not _holds_canary(repr(error) + str(error) + caplog.text)
    assert error.__cause__ is None
    assert error.__context__ is None


@EACH
def test_an_answer_that_repeats_the_key_is_scrubbed(server, model):
    server.misbehave = Misbehaviour(Failure.ECHO)
    answer = with_gateway(FreshKeys(server.url), lambda gateway: whole(gateway, model))
    assert answer["choices"][0]["message"]["content"] == "your key is [redacted] indeed"
    assert not _holds_canary(json.dumps(answer))


@EACH
def test_a_stream_that_repeats_the_key_is_scrubbed_where_it_is_cut_in_two(server, model):
    server.misbehave = Misbehaviour(Failure.ECHO)
    pieces = with_gateway(FreshKeys(server.url), lambda gateway: chunks(gateway, model))
    assert text_of(pieces) == "your key is [redacted] indeed"
    assert not _holds_canary(json.dumps(pieces))


def test_after_calls_of_every_kind_no_object_holds_the_key():
    keys = FreshKeys("")

    ways: list[tuple[Any, dict[str, Any]]] = [(whole, {}), (chunks, {}), (whole, {"tools": WEATHER})]

    async def everything(gateway: Any) -> None:
        with StandInProvider(accepted=lambda key: key == canary()) as server:
            keys.url = server.url
            for model in MODELS:
                for wrong in (None, Misbehaviour(Failure.ECHO), Misbehaviour(Failure.STATUS, status=401)):
                    server.misbehave = wrong
                    for how, more in ways:
                        await _tolerated(how(gateway, model, **more))
            server.misbehave = None
            answer = await gateway.complete(TENANT, "openai-litellm", {"messages": HELLO, "stream": True})
            assert isinstance(answer, AnswerStream)
            await anext(answer.chunks)
            await answer.chunks.aclose()
            server.forget()
        del server
        gc.unfreeze()  # else what was there at the end of the warm-up is neither collected nor listed
        # An abandoned stream goes in steps: the collector finds what the loop then closes and drops.
        for _ in range(5):
            gc.collect()
            await asyncio.sleep(0)
        assert _on_the_heap() == []

    with_gateway(keys, everything)


async def _tolerated(call: Any) -> None:
    try:
        await call
    except ServiceError:
        return


def _on_the_heap() -> list[str]:
    """Return where the key is held, of all objects that the collector knows and what they refer to."""
    found = []
    for holder in gc.get_objects():
        if isinstance(holder, FrameType):
            continue
        # Asked before the call: there are millions of objects, and hardly any is a text.
        if any(_holds_canary(value) for value in gc.get_referents(holder) if isinstance(value, _TEXTS)):
            shown = f"{type(holder)} {repr(holder)[:200]}"
            found.append(shown.replace(canary(), "[key]"))  # or the next look would find this
    return found


def test_the_heap_search_finds_a_key_that_is_kept():
    gc.unfreeze()
    kept = [canary()]
    assert any("list" in place for place in _on_the_heap())
    del kept
