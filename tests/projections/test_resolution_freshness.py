"""After a PUT or DELETE returned, no call is resolved to what was before, however many calls are read together."""

import asyncio
from uuid import UUID

from projections.credentials.current_credentials import PostgresResolutionProjection
from projections.database.pipelines import Pipelines
from tests.support.store import Store

READERS = 16
CHANGES = 15
TENANTS = [str(UUID(int=number, version=4)) for number in range(1, 4)]


def test_reads_that_begin_after_a_change_returned_see_it(store: Store) -> None:
    asyncio.run(_change_beside_readers(store))


async def _change_beside_readers(store: Store) -> None:
    pipelines = Pipelines(store.url)
    await pipelines.start()
    view, stop = PostgresResolutionProjection(pipelines), asyncio.Event()

    async def read_on(tenant: str) -> int:
        reads = 0
        while not stop.is_set():
            (await view.read(tenant, "openai")).stored.current()  # raises where view and log do not tell the same
            await view.of_tenant(tenant)
            reads += 1
        return reads

    readers = [asyncio.create_task(read_on(TENANTS[nth % len(TENANTS)])) for nth in range(READERS)]
    try:
        for nth in range(CHANGES):
            for tenant in TENANTS:
                state = await asyncio.to_thread(store.set, tenant, "openai", f"sk-{nth:012}")
                read, listed = await asyncio.gather(view.read(tenant, "openai"), view.of_tenant(tenant))
                assert read.stored.current() == state
                assert [stored.shown for stored in listed] == [state]
                await asyncio.to_thread(store.delete, tenant, "openai")
                read, listed = await asyncio.gather(view.read(tenant, "openai"), view.of_tenant(tenant))
                assert read.stored.current() is None
                assert listed == []
    finally:
        stop.set()
        reads = await asyncio.gather(*readers, return_exceptions=True)
        await pipelines.stop()
    assert all(isinstance(count, int) and count > 0 for count in reads), reads
