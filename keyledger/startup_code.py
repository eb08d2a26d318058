"""Code that Python itself runs before the program, with every secret of the environment in reach.

Promises: a `sitecustomize` or `usercustomize` module that comes neither with Python nor with the installed packages is
reported, and so is a `.pth` file of the environment that no installed package lists. It is a report: such code has run
by then. `python -I` starts a program without PYTHONPATH and without the packages of the user.
"""

import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

_MODULES = ("sitecustomize", "usercustomize")
_OF_THE_ENVIRONMENT = frozenset({"_virtualenv.pth", "distutils-precedence.pth"})
"""Written when a virtual environment is made, and listed by none of its packages."""


def foreign_modules() -> Iterator[Path]:
    """Yield the files of the modules that Python imported at its start and that are not its own."""
    own = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    own += [folder.resolve() for folder in own]
    for name in _MODULES:
        file = getattr(sys.modules.get(name), "__file__", None)
        # Debian links its module in the standard library to a file elsewhere, so the link is what counts.
        if file is not None and not any(Path(file).is_relative_to(folder) for folder in own):
            yield Path(file)


def foreign_path_files() -> Iterator[Path]:
    """Yield the `.pth` files of the environment that no installed package lists. It reads every package's list."""
    folders = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    present = {file for folder in folders for file in folder.glob("*.pth") if file.name not in _OF_THE_ENVIRONMENT}
    listed = {
        Path(str(one.locate_file(line.partition(",")[0])))
        for one in distributions(path=[str(folder) for folder in folders])
        for line in (one.read_text("RECORD") or "").splitlines()
        if line.partition(",")[0].endswith(".pth")
    }
    yield from sorted(present - listed)
