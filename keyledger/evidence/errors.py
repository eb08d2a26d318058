"""The error of evidence that does not hold."""


class EvidenceError(Exception):
    """Evidence does not show what it should, or would not if it were written.

    meaning: what is wrong and what follows from that. position: of the first record concerned, from 1; None if it does
    not concern one record. For a store also, part: log, tree, trail, people, current, bindings, checkpoint or anchor.
    tenant_id, provider: of the credential concerned.
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
