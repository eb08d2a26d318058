"""Resolution within one process, against what the database and the cipher alone would take.

Ours reads the row and the head of its stream, checks that they agree, checks the binding, decrypts. The other selects
the same row by its primary key through the driver's pool and decrypts.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from uuid import UUID

from cryptography.fernet import Fernet
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from benchmarks.frame import Goal, Measured, Row, Scale, Section, apart, in_turn, measured, rates, throughput_ratio
from benchmarks.stored import database, fill
from domain.credentials.resolution import ResolutionPolicy, Resolver
from domain.credentials.secret import Secret
from domain.event_codec import event_of
from domain.events.event_code import NO_CODES
from domain.tenants.stored import TenantReader
from keyledger.encryption.keyring import TOKEN_PREFIX, Keyring, generate_encryption_key
from projections.credentials.current_credentials import PostgresResolutionProjection
from projections.database.pipelines import Pipelines

STORED = 1_000
GOAL = Goal(0.75)
_SELECT = "SELECT * FROM current_credentials WHERE tenant_id = %s AND provider = %s"

Once = Callable[[str], Awaitable[object]]


def run(scale: Scale, folder: Path) -> Section:
    """Measure 1, 8 and 32 callers in turn."""
    section = Section("resolve: read, freshness check, binding and decryption, to one SELECT and Fernet.decrypt")
    key = generate_encryption_key().reveal()
    with database(folder, "resolve") as dsn:
        fill(dsn, key, STORED)
        for callers in scale.clients:
            found = in_turn(
                {
                    "resolve": partial(apart, measure, dsn, key, STORED, callers, scale.seconds),
                    "bare": partial(apart, _bare, dsn, key, STORED, callers, scale.seconds),
                },
                scale.rounds,
            )
            ratio = throughput_ratio(found["resolve"], found["bare"])
            section.rows.append(Row(f"resolve, callers: {callers}", ratio, GOAL, rates(found)))
    return section


def measure(dsn: str, key: str, stored: int, callers: int, seconds: float) -> Measured:
    """Resolve credentials of `stored` tenants, spread over all of them."""

    async def resolving() -> Measured:
        async with Pipelines(dsn) as pipelines:
            tenants = TenantReader(lambda: NO_CODES, event_of)
            projection = PostgresResolutionProjection(pipelines)
            resolver = Resolver(projection, Keyring(Secret(key)), ResolutionPolicy(True, True), tenants)

            async def once(tenant: str) -> None:
                resolved = await resolver.resolve(tenant, "openai", tenant_capable=True)
                assert resolved.secret is not None

            return await _callers(once, stored, callers, seconds)

    return asyncio.run(resolving())


def _bare(dsn: str, key: str, stored: int, callers: int, seconds: float) -> Measured:
    async def selecting() -> Measured:
        fernet = Fernet(key)
        async with AsyncConnectionPool(dsn, kwargs={"autocommit": True}, min_size=1, max_size=8, open=False) as pool:

            async def once(tenant: str) -> None:
                async with pool.connection() as connection:
                    cursor = connection.cursor(row_factory=dict_row)
                    await cursor.execute(_SELECT, [tenant, "openai"], prepare=True)
                    row = await cursor.fetchone()
                assert row is not None
                fernet.decrypt(row["token"].removeprefix(TOKEN_PREFIX))

            return await _callers(once, stored, callers, seconds)

    return asyncio.run(selecting())


async def _callers(once: Once, stored: int, callers: int, seconds: float) -> Measured:
    took: list[float] = []
    tenants = [str(UUID(int=1 + (nth * 7919) % stored, version=4)) for nth in range(min(stored, 50_000))]

    async def call(begin: int, until: float, keep: list[float]) -> None:
        nth = begin
        while (started := time.perf_counter()) < until:
            await once(tenants[nth % len(tenants)])
            keep.append(time.perf_counter() - started)
            nth += callers

    async def all_of_them(until: float, keep: list[float]) -> None:
        await asyncio.gather(*(call(nth, until, keep) for nth in range(callers)))

    await all_of_them(time.perf_counter() + seconds / 5, [])
    await all_of_them(time.perf_counter() + seconds, took)
    return measured(took, seconds)
