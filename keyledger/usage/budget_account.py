"""One budget in one period, as one process counts it. To be used from one event loop.

Promises: what is reserved is within the block that this process holds, but for a call that is alone. A block is used
only while it surely counts in the database, by a clock that no one sets.
"""

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

from domain.access.budgets import HELD_S, BudgetBlocks, BudgetPlace, Granted

MARGIN_S = 10.0
"""Seconds before a block lapses in which it is no longer used."""
SHORT_S = 0.5
"""Seconds for which the database is not asked again after it had less than was wanted."""
IDLE_S = 5.0
"""Seconds after the last call of a budget until its block is given back."""
BLOCKS = 64
"""A block is this part of the budget, or what a call needs."""
_ZERO = Decimal(0)


class BudgetAccount:
    """The account. monotonic: a clock in seconds that never goes back."""

    def __init__(self, place: BudgetPlace, blocks: BudgetBlocks, monotonic: Callable[[], float]) -> None:
        self.place = place
        self.under_way = self._coming = 0
        self._blocks = blocks
        self._monotonic = monotonic
        self._turn = asyncio.Lock()
        self._limit = _ZERO
        self._spent = self._stored = self._held = self._reserved = _ZERO
        self._granted = Granted(_ZERO, _ZERO, _ZERO)
        self._valid_until = self._short_until = self._used_at = float("-inf")

    @property
    def is_used_up(self) -> bool:
        """Whether nothing is left, as far as is known here, whatever becomes of the calls under way."""
        return self._granted.others_spent + self._spent >= self._limit

    @property
    def is_done(self) -> bool:
        """Whether nothing is under way, held or unwritten."""
        return not self.under_way and not self._coming and not self._held and self._spent == self._stored

    async def take(self, amount: Decimal, limit: Decimal) -> bool:
        """Reserve an amount for one call; return whether that is possible. Raises StoreUnavailableError."""
        self._coming += 1
        try:
            await self._make_room(amount, limit)
        finally:
            self._coming -= 1
        if not self._fits(amount, limit) and (self.under_way or not self._counts(limit) or self._held <= 0):
            return False
        self.under_way += 1
        self._reserved += amount
        self._used_at = self._monotonic()
        return True

    async def _make_room(self, amount: Decimal, limit: Decimal) -> None:
        """Take a larger block if an amount does not fit into this one."""
        if not self._fits(amount, limit):
            async with self._turn:
                if not self._fits(amount, limit) and not self._is_short(limit):
                    wanted = self._reserved + amount + limit / BLOCKS
                    await self._settle(limit, wanted)

    def end(self) -> None:
        """Have the block given back the next time it is tended."""
        self._used_at = float("-inf")

    def settle(self, amount: Decimal, used: Decimal) -> None:
        """End a call for which an amount was reserved."""
        self.under_way -= 1
        self._reserved -= amount
        self._spent += used
        self._held = max(_ZERO, self._held - used)
        self._used_at = self._monotonic()

    async def tend(self) -> None:
        """Write what was used; keep the block, or give it back. Raises StoreUnavailableError."""
        async with self._turn:
            is_idle = not self.under_way and self._monotonic() - self._used_at > IDLE_S
            wanted = _ZERO if is_idle else min(self._held, self._reserved + self._limit / BLOCKS)
            lapses = self._held and self._valid_until - self._monotonic() < HELD_S / 2
            if self._spent != self._stored or wanted != self._held or lapses:
                self._held = wanted  # before it is given back, so that no one reserves it meanwhile
                await self._settle(self._limit, wanted)

    def _fits(self, amount: Decimal, limit: Decimal) -> bool:
        return self._counts(limit) and self._held - self._reserved >= amount

    def _counts(self, limit: Decimal) -> bool:
        return limit == self._limit and self._monotonic() < self._valid_until

    def _is_short(self, limit: Decimal) -> bool:
        return self._counts(limit) and self._monotonic() < self._short_until

    async def _settle(self, limit: Decimal, wanted: Decimal) -> None:
        spent, begun = self._spent, self._monotonic()
        granted = await _to_its_end(asyncio.to_thread(self._blocks.settle, self.place, limit, spent, wanted))
        self._granted, self._limit, self._stored = granted, limit, spent
        self._held = max(_ZERO, granted.held - (self._spent - spent))
        self._valid_until = begun + HELD_S - MARGIN_S
        self._short_until = begun + SHORT_S if granted.held < wanted else begun


async def _to_its_end(writing: Coroutine[Any, Any, Granted]) -> Granted:
    """Await a write, also for a caller that leaves: the thread continues, and must not write after the next one."""
    task = asyncio.ensure_future(writing)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # no one else looks at it
        raise
