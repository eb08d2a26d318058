"""What is wrong with evidence, in the words of an auditor."""


class EvidenceError(Exception):
    """The evidence does not show what it should, or would not if it were written.

    position: of the first record it concerns, from 1; None when it is not about one record. meaning: what follows.
    """

    def __init__(self, meaning: str, position: int | None = None) -> None:
        super().__init__(meaning if position is None else f"Record {position}: {meaning}")
        self.position = position
        self.meaning = meaning


class FolderInUseError(Exception):
    """A bundle is written into a new or an empty folder alone; this one has something in it, and was left as it is."""

    def __init__(self) -> None:
        super().__init__("The folder is not empty. A bundle needs a folder of its own: name a new one.")
