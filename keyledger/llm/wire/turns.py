"""Lets long responses take turns, so that many of them together do not hold up the other tasks of an event loop.

Promises: one long response takes a step in each round of the event loop. The service keys take turns, however many
responses each has, and within one key its tenants do. A step that took long is followed by a rest of the same length,
so that all long responses together take at most about half of the event loop's time.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

LONG_S = 0.0005
"""Seconds of a step after which a rest follows; steps of usual text take less."""
REST_MAX_S = 0.05

_Turn = asyncio.Future[None]


class Turns:
    """The turns of one event loop. Between two of them, every other task that is ready runs."""

    def __init__(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Begin with no one waiting. pause: waits for a number of seconds, at least for one round of the event loop."""
        self._waiting = _Waiting()
        self._taken = False
        self._pause = pause
        self._rest = 0.0

    def of(self, *names: str) -> "TurnsOfOne":
        """Return the turns of one response. names: whose it is, from the outside in, such as a key and a tenant."""
        return TurnsOfOne(self, names)

    def took(self, seconds: float) -> None:
        """Note how long a step took, without what it waited for."""
        if seconds > LONG_S:
            self._rest = min(self._rest + seconds, REST_MAX_S)

    async def wait(self, names: tuple[str, ...]) -> None:
        """Return when it is the turn of a response of these names: one response for each round of the event loop."""
        if self._taken:
            await self._given(names)
        self._taken = True
        try:
            rest, self._rest = self._rest, 0.0
            await self._pause(rest)
        finally:
            self._give()

    async def _given(self, names: tuple[str, ...]) -> None:
        turn: _Turn = asyncio.get_running_loop().create_future()
        self._waiting.add(turn, names)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give()
            raise

    def _give(self) -> None:
        """Give the next turn to one that still waits."""
        while self._waiting:
            turn = self._waiting.next()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False


class TurnsOfOne:
    """The turns of one response."""

    __slots__ = ("_names", "_turns")

    def __init__(self, turns: Turns, names: tuple[str, ...]) -> None:
        self._turns = turns
        self._names = names

    def took(self, seconds: float) -> None:
        """Note how long a step took, without what it waited for."""
        self._turns.took(seconds)

    async def wait(self) -> None:
        """Return when it is this response's turn."""
        await self._turns.wait(self._names)


class _Waiting:
    """Those that wait for a turn, in the order of asking, and by name, the longest without a turn first."""

    __slots__ = ("_by_name", "_turns")

    def __init__(self) -> None:
        self._turns: deque[_Turn] = deque()
        self._by_name: dict[str, _Waiting] = {}

    def __bool__(self) -> bool:
        return bool(self._turns or self._by_name)

    def add(self, turn: _Turn, names: tuple[str, ...]) -> None:
        if not names:
            self._turns.append(turn)
            return
        if names[0] not in self._by_name:
            self._by_name[names[0]] = _Waiting()
        self._by_name[names[0]].add(turn, names[1:])

    def next(self) -> _Turn:
        if self._turns:
            return self._turns.popleft()
        name = next(iter(self._by_name))
        of_name = self._by_name.pop(name)
        turn = of_name.next()
        if of_name:
            self._by_name[name] = of_name  # behind the others
        return turn
