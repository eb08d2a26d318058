"""The platform's key on a provider's own API: a catalogue, a resolver that finds no tenant's key, and a recording
provider."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from domain.calls.models import Adapter, Model, ModelKind
from domain.calls.native import NativeAnswer, NativeCall
from domain.calls.native_rules import NativeRules, OpenedRoute
from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.resolution import Receipt, Route, Source
from domain.endpoints.rules import EndpointRules
from keyledger.llm import CallConfiguration, PassThrough, Timeouts
from keyledger.settings.ai_models import Catalogue
from tests.keyledger.llm.rig import TENANT, Keys
from tests.support.meter import ListeningMeter
from tests.support.native_provider import Heard, NativeProvider

JSON = [(b"content-type", b"application/json")]
NAMES = {
    "openai": ("gpt-4o", "text-embedding-3-small", "whisper-1", "gpt-image-1", "tts-1", "rerank-1", "o-*"),
    "anthropic": ("claude-sonnet-5",),
    "azure": ("dep-1", "dep-2"),
    "vllm": ("Qwen/Qwen3-8B",),
}


def catalogue() -> Catalogue:
    return Catalogue(
        "test_models.yml",
        tuple(
            Model(f"our-{name}", ModelKind.COMPLETION, provider, adapter, name)
            for provider, names in NAMES.items()
            for name, adapter in zip(names, [Adapter.LEGACY, *[Adapter.LITELLM] * len(names)], strict=False)
        ),
    )


@dataclass
class GlobalKeys(Keys):
    """Resolves every call to the platform's key."""

    async def explain(self, tenant_id: str, provider: str, *, tenant_capable: bool) -> Route:
        route = await super().explain(tenant_id, provider, tenant_capable=tenant_capable)
        return replace(route, receipt=Receipt(Source.GLOBAL, provider))


@dataclass
class Sent:
    """A body in pieces. taken: how many were read."""

    pieces: Sequence[bytes]
    taken: int = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.taken += 1
            yield piece
            await asyncio.sleep(0)

    async def whole(self) -> bytes:
        return b"".join([piece async for piece in self])


@dataclass
class Rig:
    """Calls with the platform's key, in one event loop."""

    provider: NativeProvider
    opened: tuple[str, ...] = ()
    account_routes: bool = False
    keys: type[Keys] = GlobalKeys
    meter: ListeningMeter = field(default_factory=ListeningMeter)

    def run(self, *calls: NativeCall) -> list[NativeAnswer | Exception]:
        """Make calls one after the other, and return each answer or error."""

        async def all_of_them() -> list[NativeAnswer | Exception]:
            rules = NativeRules(tuple(OpenedRoute.read(one, BUILT_IN) for one in self.opened), self.account_routes)
            configuration = CallConfiguration(catalogue(), self.keys(self.provider.url), EndpointRules(), rules)
            apis = PassThrough(lambda: configuration, Timeouts(connect=5, answer=10), meter=self.meter)
            try:
                return [await _outcome(apis, call) for call in calls]
            finally:
                await apis.stop()

        return asyncio.run(all_of_them())

    def one(self, call: NativeCall) -> NativeAnswer | Exception:
        """Make one call."""
        (outcome,) = self.run(call)
        return outcome

    def sent(self, call: NativeCall) -> Heard:
        """Make one call that is admitted, and return the request that the provider received."""
        self.provider.heard.clear()
        outcome = self.one(call)
        assert isinstance(outcome, NativeAnswer), outcome
        assert outcome.receipt.source is Source.GLOBAL
        (heard,) = self.provider.heard
        return heard

    def refused(self, *calls: NativeCall) -> Any:
        """Make calls that are refused, and return the last error; the provider must not have received anything."""
        self.provider.heard.clear()
        outcomes = self.run(*calls)
        assert all(isinstance(outcome, Exception) for outcome in outcomes), outcomes
        assert self.provider.heard == []
        return outcomes[-1]


async def _outcome(apis: PassThrough, call: NativeCall) -> NativeAnswer | Exception:
    try:
        answer = await apis.call(call)
    except Exception as error:  # noqa: BLE001  the test looks at it
        return error
    if answer.pieces is not None:
        with suppress(Exception):
            while await answer.pieces.next() is not None:
                pass
    return answer


def post(path: str, body: Any, provider: str = "openai", **more: Any) -> NativeCall:
    """Return a call with a JSON body. body: bytes go as they are."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    more.setdefault("headers", JSON)
    return NativeCall(TENANT, provider, "POST", path, body=text, **more)


def chat(**members: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], **members}


def asked(**members: Any) -> dict[str, Any]:
    """Return the body of a request to the Responses API."""
    return {"model": "gpt-4o", "input": "hi", **members}


def message(**members: Any) -> dict[str, Any]:
    """Return the body of a request to Anthropic's Messages API."""
    return {"model": "claude-sonnet-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **members}
