"""Connections that presented a valid key, by the name of that key, the longest unused first."""

from collections.abc import Callable
from typing import Generic, TypeVar

C = TypeVar("C")


class ByKey(Generic[C]):
    """The connections. is_idle: says whether no request on one is under way."""

    def __init__(self, is_idle: Callable[[C], bool]) -> None:
        self._is_idle = is_idle
        self._of_key: dict[str, dict[C, None]] = {}
        self.count = 0
        """How many there are with any key."""

    def of(self, key: str) -> int:
        """Return how many there are with one key."""
        return len(self._of_key.get(key, ()))

    def use(self, connection: C, key: str) -> None:
        """Note that one is used, for the first time or again. It must be here with no other key."""
        of_key = self._of_key.setdefault(key, {})
        if of_key.pop(connection, connection) is connection:
            self.count += 1
        of_key[connection] = None

    def forget(self, connection: C, key: str) -> None:
        """Remove one, if it is here."""
        of_key = self._of_key.get(key, {})
        if of_key.pop(connection, connection) is None:
            self.count -= 1
            if not of_key:
                del self._of_key[key]

    def idle_of(self, key: str) -> C | None:
        """Return the longest unused one of a key on which no request is under way."""
        return next((one for one in self._of_key.get(key, ()) if self._is_idle(one)), None)

    def idle(self) -> C | None:
        """Return the same of the key that has the most connections, of those keys that have an idle one."""
        for key in sorted(self._of_key, key=self.of, reverse=True):
            if (one := self.idle_of(key)) is not None:
                return one
        return None
