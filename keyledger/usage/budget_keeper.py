"""Reserves what calls may use of the budgets of their access keys, out of blocks that this process has taken.

Promises: as `domain.access.budgets`. A call takes no statement unless the block of its process is too small, or lapsed.
What was used is written once a second, and what is not used is given back after a few seconds.
Survives: an orderly stop writes everything and gives all blocks back. A killed process loses what its calls used in the
last second, and of calls that were under way; its blocks lapse after a minute.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from decimal import Decimal

from domain.access.budgets import BudgetBlocks, BudgetKind, BudgetPlace, amounts_of, place_of, taken, used_up
from domain.calls.call_admission import Asked, Reservation
from domain.calls.tokens import Tokens
from domain.errors import StoreUnavailableError
from domain.events.event import Clock
from keyledger.usage.budget_account import BudgetAccount

TICK_S = 1.0

_log = logging.getLogger("keyledger.budgets")


class _Reserved:
    """The amounts of each budget that were reserved for one call."""

    def __init__(self) -> None:
        self._parts: list[tuple[BudgetAccount, Decimal]] = []

    def add(self, account: BudgetAccount, amount: Decimal) -> None:
        self._parts.append((account, amount))

    def settle(self, tokens: Tokens | None, cost: Decimal | None) -> None:
        """Take what the call used, and give the rest back."""
        parts, self._parts = self._parts, []
        for account, amount in parts:
            if account.place.kind is BudgetKind.TOKENS_PER_DAY:
                used = amount if tokens is None else Decimal(tokens.input + tokens.output)
            else:
                used = amount if cost is None else cost
            account.settle(amount, used)


class BudgetKeeper:
    """The budgets of one process, for one event loop."""

    def __init__(self, blocks: BudgetBlocks, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._blocks = blocks
        self._clock = clock
        self._monotonic = monotonic
        self._accounts: dict[BudgetPlace, BudgetAccount] = {}
        self._task: asyncio.Task[None] | None = None

    async def reserve(self, key: str, limits: Mapping[BudgetKind, Decimal], asked: Asked) -> Reservation:
        """Reserve the most that a call may use. key: the name of the access key.

        Raises AccessError if a budget has too little left, or for a model without a price; StoreUnavailableError.
        """
        amounts = amounts_of(asked, limits)
        reserved = _Reserved()
        try:
            for kind, limit in limits.items():
                place = place_of(key, kind, self._clock(), asked.currency)
                account = self._accounts.get(place)
                if account is None:
                    account = self._accounts[place] = BudgetAccount(place, self._blocks, self._monotonic)
                if not await account.take(amounts[kind], limit):
                    raise used_up(place, limit, self._clock()) if account.is_used_up else taken(place, limit)
                reserved.add(account, amounts[kind])
        except BaseException:
            reserved.settle(Tokens(0, 0), Decimal(0))
            raise
        return reserved

    async def start(self) -> None:
        """Start the task that writes what was used."""
        self._task = asyncio.create_task(self._run(), name="budgets")

    async def stop(self) -> None:
        """Stop the task, write what was used, and give back what is held."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for account in self._accounts.values():
            account.end()
        await self.tend()

    async def tend(self) -> None:
        """Write what was used of each budget once."""
        for place, account in list(self._accounts.items()):
            try:
                await account.tend()
            except StoreUnavailableError:
                _log.warning("what access keys used of their budgets could not be stored yet")
                return
            if account.is_done and place.ends < self._clock():
                del self._accounts[place]

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.tend()
            except Exception as error:  # noqa: BLE001  the task must continue
                _log.error("budgets could not be tended: %s", type(error).__name__)
