"""The one error of backups."""


class BackupError(Exception):
    """A backup cannot be made or restored; nothing was changed. The text says why; it contains no secret.

    about_file: whether the text is about the file that is to be restored, and does not name it.
    """

    def __init__(self, text: str, *, about_file: bool = False) -> None:
        super().__init__(text)
        self.about_file = about_file
