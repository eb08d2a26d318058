"""A connection to a provider as aiohttp has it during one call."""

from typing import Any

from aiohttp.client_proto import ResponseHandler

from keyledger.llm.wire.provider_connection import ProviderConnection


class Borrowed:
    """A connection during one call, as aiohttp uses it: in place of its own `Connection`, of which it is a superset.

    aiohttp releases it at the end of an answer and closes it in every other case. The first of both decides.
    """

    __slots__ = ("_lent",)

    def __init__(self, lent: ProviderConnection) -> None:
        self._lent: ProviderConnection | None = lent

    @property
    def protocol(self) -> ResponseHandler | None:
        """aiohttp's parser, None after the end of the call."""
        return None if self._lent is None else self._lent.parser

    def release(self) -> None:
        """End the call."""
        lent, self._lent = self._lent, None
        if lent is not None:
            lent.end()

    def close(self) -> None:
        """End the call and close the connection."""
        lent, self._lent = self._lent, None
        if lent is not None:
            lent.close("closed")

    def __getattr__(self, name: str) -> Any:
        if name == "_lent" or self._lent is None:
            raise AttributeError(name)
        return getattr(self._lent.opened, name)

    def __del__(self) -> None:
        self.close()
