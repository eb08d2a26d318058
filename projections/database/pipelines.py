"""The pipelines of a service: one for calls and one for lists, so that a call never waits behind a list."""

from collections.abc import Callable
from typing import Self

from projections.database.epochs import any_server
from projections.database.pipeline import Pipeline


class Pipelines:
    """Those of a service, so that a call never waits behind a list, which is read in many more rows. A part."""

    def __init__(self, dsn: str, admits: Callable[[str], bool] = any_server) -> None:
        """dsn, admits: see Pipeline."""
        self.calls = Pipeline(dsn, admits)
        self.lists = Pipeline(dsn, admits)

    async def start(self) -> None:
        """Begin to connect. Does not wait for the database, which may come back later. Lists connect with the first."""
        await self.calls.start()

    async def stop(self) -> None:
        """Close the connections."""
        await self.calls.stop()
        await self.lists.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
