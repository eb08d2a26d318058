"""The one error of settings and of the files that they name."""


class SettingsError(Exception):
    """The settings, or a file that they name, are not fit to start with.

    lines: one for each thing that is wrong, with the way to mend it; never a value. source: the file's name, which
    begins each line; without one the lines begin with the setting's name.
    """

    def __init__(self, lines: tuple[str, ...], source: str | None = None) -> None:
        self.lines = lines if source is None else tuple(f"{source}: {line}" for line in lines)
        super().__init__("; ".join(self.lines))
