"""A call ends with what it began with, whatever is applied in the meantime."""

import asyncio
from dataclasses import dataclass, field

from domain.credentials.resolution import ResolvedCredential
from domain.endpoints.rules import EndpointRules
from domain.errors import ErrorCode
from keyledger.llm import CallConfiguration, Gateway
from keyledger.settings.ai_models import Catalogue
from tests.keyledger.llm.rig import TENANT, Keys, catalogue, stand_in, whole
from tests.support.errors import raises
from tests.support.meter import ListeningMeter


@dataclass
class Hesitant(Keys):
    """Finds the key only when the test lets it continue."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def resolve(
        self, tenant_id: str, provider: str, *, tenant_capable: bool, admission: object = None
    ) -> ResolvedCredential:
        self.asked.set()
        await self.go_on.wait()
        return await super().resolve(tenant_id, provider, tenant_capable=tenant_capable)


def test_a_call_under_way_does_not_notice_a_change() -> None:
    async def run(url: str) -> None:
        before = Hesitant(url, {TENANT: "sk-before-0123456789"})
        configuration = CallConfiguration(catalogue(), before, EndpointRules())
        gateway = Gateway(lambda: configuration, meter=ListeningMeter())
        call = asyncio.create_task(whole(gateway, "openai-legacy"))
        await before.asked.wait()
        configuration = CallConfiguration(
            Catalogue("empty.yml", ()), Keys(url, {TENANT: "sk-after-0123456789"}), EndpointRules()
        )
        before.go_on.set()
        assert (await call)["choices"]
        with raises(ErrorCode.UNKNOWN_MODEL, match=r"empty\.yml"):
            await whole(gateway, "openai-legacy")
        await gateway.stop()

    with stand_in("sk-before-0123456789") as provider:
        asyncio.run(run(provider.url))
    assert [request.key for request in provider.requests] == ["sk-before-0123456789"]
