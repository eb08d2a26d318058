"""Runs a command of `keyledger` in this process, in an environment of its own, for tests about something else."""

import io
import os
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.main import main

_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def command(folder: Path, settings: Mapping[str, str], *arguments: str) -> Ended:
    """Run a command in a folder without a `.env` file, with these settings only."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - set(_KEPT):
            patch.delenv(name)
        for name, value in settings.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main(arguments)
    return Ended(int(ended.value.code or 0), out.getvalue(), err.getvalue())
