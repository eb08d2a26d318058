"""The one error of evidence."""


class EvidenceError(Exception):
    """The evidence does not show what it should, or would not if it were written.

    meaning: what follows. position: of the first record it concerns, from 1; None when it is not about one record.
    In a store it also says in which part of it, and of which credential: log, tree, trail, current, bindings or
    checkpoint.
    """

    def __init__(
        self,
        meaning: str,
        position: int | None = None,
        *,
        part: str = "log",
        tenant_id: str | None = None,
        provider: str | None = None,
    ) -> None:
        super().__init__(meaning if position is None else f"Record {position}: {meaning}")
        self.meaning = meaning
        self.position = position
        self.part = part
        self.tenant_id = tenant_id
        self.provider = provider
