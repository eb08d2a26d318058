"""An answer of a provider: its head, and its body as it arrives.

Promises: closing an answer that has not ended ends its connection; after the end, closing has no effect. An answer that
nothing refers to any more is closed.
"""

from typing import Protocol

from keyledger.llm.wire.answer_content import AnswerContent
from keyledger.llm.wire.answer_parser import AnswerHead


class Lent(Protocol):
    """The connection of an answer."""

    def abandon(self, content: AnswerContent) -> None:
        """End the connection, if it still serves the answer with this body."""
        ...


class ProviderAnswer:
    """One answer."""

    __slots__ = ("_connection", "content", "head", "status")

    def __init__(self, head: AnswerHead, content: AnswerContent, connection: Lent) -> None:
        self.status = head.status
        self.head = head
        self.content = content
        self._connection: Lent | None = connection

    @property
    def content_type(self) -> str:
        """The media type of the body, in lower case and without parameters; empty where the provider states none."""
        return self.head.value(b"content-type").partition(";")[0].strip().lower()

    def close(self) -> None:
        """Read no more of the answer."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon(self.content)

    def __del__(self) -> None:
        self.close()
