"""The page on the way of a PUT names the modules that handle a key, found by following one through a real service."""

import inspect
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from uuid import uuid4

import pytest
from pydantic import BaseModel, SecretStr

from api.front.exchange import Exchange
from domain.credentials.secret import Secret
from tests.support.places import REPOSITORY
from tests.support.postgres import TemplatedServer
from tests.support.service import client_of, credential, environment, served

CANARY = "sk-canary-4f1d7c20b6a94e55"
PAGE = REPOSITORY / "docs" / "contributing" / "way-of-a-put.md"
PACKAGES = ("domain", "projections", "api", "keyledger")
TYPE = "domain/credentials/secret.py"
"""The type that the key has on its way."""


class Trail:
    """The modules whose functions are given the key or return it, in the order of their first time.

    follows: whether calls are looked at. To look at all that a start does would take a busy machine longer than the
    service waits for its database.
    """

    def __init__(self) -> None:
        self.given: dict[str, None] = {}
        self.returned: set[str] = set()
        self.follows = False

    def __call__(self, frame: FrameType, event: str, value: object) -> None:
        """Look at a call or a return, as the profiler reports it."""
        if not self.follows or event not in {"call", "return"} or (module := _module(frame.f_code.co_filename)) is None:
            return
        if event == "call":
            if any(_holds(frame.f_locals.get(name)) for name in _parameters(frame.f_code)):
                self.given.setdefault(module)
        elif _holds(value):
            self.given.setdefault(module)
            if frame.f_back is None or _module(frame.f_back.f_code.co_filename) != module:
                self.returned.add(module)


@pytest.fixture(scope="module")
def trail(postgres_server: TemplatedServer) -> Trail:
    """The modules that a PUT with the key passes through."""
    found = Trail()
    headers = {"X-Request-ID": "request-1", "X-Audit-Reason": "a test", "Idempotency-Key": "once"}
    with (
        postgres_server.fresh_database() as url,
        _followed_by(found),
        served(url, environment()) as address,
        client_of(address) as client,
    ):
        assert client.put(str(uuid4()), "openai", api_key="sk-whatever-loads-is-loaded").status_code == 200
        found.follows = True
        answer = client.http.put(credential(str(uuid4()), "openai"), json={"api_key": CANARY}, headers=headers)
        assert answer.status_code == 200, answer.text
    return found


def test_the_page_names_the_way_in_its_order(trail: Trail) -> None:
    way = _named("Step by step")
    assert [module for module in trail.given if module in way] == way


def test_the_page_names_every_module_that_is_given_the_key(trail: Trail) -> None:
    assert set(trail.given) == {*_named("Step by step"), *_named("Consulted along the way"), TYPE}


def test_the_way_is_short() -> None:
    assert len(_named("Step by step")) <= 9


def test_what_is_only_asked_never_hands_the_key_on(trail: Trail) -> None:
    assert not trail.returned & set(_named("Consulted along the way"))


def _named(section: str) -> list[str]:
    """Return the modules that open the items of a section of the page."""
    text = PAGE.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^(?:\d+\.|-) `([^`]+\.py)`", text, re.MULTILINE)


@contextmanager
def _followed_by(trail: Trail) -> Iterator[None]:
    """Look at every thread that starts meanwhile."""
    before = threading.getprofile()
    threading.setprofile(trail)
    try:
        yield
    finally:
        threading.setprofile(before)


@lru_cache(4096)
def _parameters(code: CodeType) -> tuple[str, ...]:
    collected = bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + collected]


@lru_cache(4096)
def _module(filename: str) -> str | None:
    path = Path(filename)
    if not path.is_relative_to(REPOSITORY):
        return None
    name = path.relative_to(REPOSITORY).as_posix()
    return name if name.startswith(PACKAGES) else None


def _holds(value: object, depth: int = 4) -> bool:
    """Say whether a value is the key, or carries it. The state of the whole request, which all layers share, is not."""
    if isinstance(value, str):
        return CANARY in value
    if isinstance(value, bytes):
        return CANARY.encode() in value
    if isinstance(value, Secret):
        return CANARY in getattr(value, "_value", "")
    if isinstance(value, SecretStr):
        return CANARY in value.get_secret_value()
    if depth == 0 or isinstance(value, Exchange) or (isinstance(value, Mapping) and "asgi" in value):
        return False
    if isinstance(value, Mapping | list | tuple):
        return any(_holds(one, depth - 1) for one in (value.values() if isinstance(value, Mapping) else value))
    if isinstance(value, BaseModel):
        return any(_holds(one, depth - 1) for _, one in value)
    if is_dataclass(value):
        return any(_holds(getattr(value, field.name, None), depth - 1) for field in fields(value))
    return False
