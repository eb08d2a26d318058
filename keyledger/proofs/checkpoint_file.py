"""The last signed checkpoint, kept outside the database: DATA_DIR/checkpoints/last, a C2SP signed note.

Promises: one file, whichever ledger the database names, so a database with another ledger meets the checkpoint of the
former one. After a crash at any point the file is complete, either old or new. Several processes may share it: under
`alone` they read the last checkpoint, compare and write in one step, so none is replaced by a smaller one. A checkpoint
that an operator gave up by accepting another log stays in the same folder, with its size as suffix.
"""

from contextlib import AbstractContextManager, suppress
from pathlib import Path

from domain.proofs.checkpoint import Checkpoint, parse_checkpoint
from domain.proofs.errors import ProofError
from domain.proofs.signed_note import SignedNote, parse_note
from keyledger.log.durable_file import UnreadableFileError, alone, replace_file

FOLDER, FILE_NAME = "checkpoints", "last"


class CheckpointFile:
    """The last checkpoint in one DATA_DIR."""

    def __init__(self, data_dir: Path) -> None:
        """data_dir: created when the first checkpoint is written."""
        self.path = data_dir / FOLDER / FILE_NAME

    def alone(self) -> AbstractContextManager[None]:
        """Lock the file against other processes, to compare a checkpoint with the last one and keep it.

        Raises OSError.
        """
        return alone(self.path)

    def read(self) -> tuple[SignedNote, Checkpoint] | None:
        """Return the last checkpoint, or None. The caller verifies its signatures. Raises UnreadableFileError."""
        try:
            note = parse_note(self.path.read_bytes())
            return note, parse_checkpoint(note.text)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ProofError):
            raise UnreadableFileError from None

    def write(self, note: SignedNote) -> None:
        """Replace the last checkpoint. Raises OSError, and then the last one stays."""
        replace_file(self.path, note.render())

    def give_up(self) -> None:
        """Rename the last checkpoint, after an operator accepted a log that contradicts it. Raises OSError."""
        try:
            known = self.read()
            suffix = str(known[1].size) if known else "none"
        except UnreadableFileError:
            suffix = "unreadable"
        with suppress(FileNotFoundError):
            self.path.replace(self.path.with_name(f"{self.path.name}.given-up-at-{suffix}"))
