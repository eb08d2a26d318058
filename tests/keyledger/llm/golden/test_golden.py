"""Requests are sent as recorded: an upgrade of LiteLLM that changes one shows which."""

import asyncio
import json

import pytest

from keyledger.llm.adapters.litellm import LiteLLMAdapter
from tests.keyledger.llm.golden.__main__ import FILE
from tests.keyledger.llm.golden.requests import recorded


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    asyncio.run(LiteLLMAdapter().warm_up())


def test_every_request_is_sent_as_recorded() -> None:
    known = dict(map(json.loads, FILE.read_text(encoding="utf-8").splitlines()))
    now = dict(recorded())
    assert len(now) > 1000
    assert list(now) == list(known)
    assert {name: sent for name, sent in now.items() if sent != known[name]} == {}
