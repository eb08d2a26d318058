"""A chat with the platform's key leaves no state in the platform's account, and reaches none there."""

from typing import Any

import pytest

from domain.errors import ErrorCode
from tests.keyledger.llm.rig import HELLO, TENANT, Keys, stand_in, whole, with_gateway
from tests.support.errors import raises

STATE: dict[str, dict[str, Any]] = {
    "store": {"store": True},
    "a file": {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]},
    "earlier sound": {"messages": [*HELLO, {"role": "assistant", "content": "a", "audio": {"id": "audio_1"}}]},
    "a tool of the account": {"tools": [{"type": "code_interpreter", "container": "c"}]},
    "many messages": {"messages": [*HELLO * 300, {"role": "user", "content": [{"type": "x", "file_id": "file-1"}]}]},
}


@pytest.mark.parametrize("named", STATE)
@pytest.mark.parametrize("provider", ["openai", "vllm"])
def test_what_keeps_or_reaches_state_is_refused_with_the_platform_s_key(provider: str, named: str) -> None:
    with stand_in() as running:

        async def call(gateway: Any) -> None:
            await gateway.complete(TENANT, f"{provider}-legacy", {"messages": HELLO, **STATE[named]})

        with raises(ErrorCode.GLOBAL_KEY_NOT_ALLOWED):
            with_gateway(Keys(running.url), call)
        assert running.requests == []


STORED = [("openai-legacy", {}, False), ("vllm-legacy", {}, None), ("openai-litellm", {"store": True}, True)]


@pytest.mark.parametrize(("model", "more", "expected"), STORED)
def test_store_goes_as_false_with_the_platform_s_key_and_as_it_is_with_the_tenants(
    model: str, more: dict[str, Any], expected: bool | None
) -> None:
    with stand_in() as running:
        with_gateway(Keys(running.url), lambda gateway: whole(gateway, model, **more))
        (request,) = running.requests
        assert request.body.get("store") is expected
