"""The one error of settings and of the files that they name."""


class SettingsError(Exception):
    """The settings, or a file that they name, have errors.

    lines: one for each error, with its remedy; never a value. source: the name of the file, put in front of each line;
    without it, each line begins with the name of the setting.
    """

    def __init__(self, lines: tuple[str, ...], source: str | None = None) -> None:
        self.lines = lines if source is None else tuple(f"{source}: {line}" for line in lines)
        super().__init__("; ".join(self.lines))
