"""Many tenants at once: each request carries the key of its own tenant."""

import asyncio

import pytest

from scripts.demo.stand_in_provider import StandInProvider
from tests.keyledger.llm.rig import PROVIDERS, Keys, chunks, whole, with_gateway

TENANTS = {f"tenant-{number}": f"sk-tenant-{number}-canary" for number in range(8)}


@pytest.mark.parametrize("adapter", ["litellm", "legacy"])
@pytest.mark.parametrize("how", [whole, chunks], ids=["plain", "streamed"])
def test_64_calls_of_8_tenants_each_carry_their_own_key(adapter, how):
    async def all_at_once(gateway):
        await asyncio.gather(
            *(
                how(
                    gateway,
                    f"{PROVIDERS[number % len(PROVIDERS)]}-{adapter}",
                    f"tenant-{number % 8}",
                    messages=[{"role": "user", "content": f"I am tenant-{number % 8}"}],
                )
                for number in range(64)
            )
        )

    with StandInProvider(accepted=set(TENANTS.values())) as server:
        with_gateway(Keys(server.url, keys=TENANTS), all_at_once)
        requests = server.requests
    assert len(requests) == 64
    for request in requests:
        said = str(request.body["messages"])
        (tenant,) = [name for name in TENANTS if name in said]
        assert request.key == TENANTS[tenant]
