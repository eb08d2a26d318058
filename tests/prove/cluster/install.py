"""Installs Patroni into an environment of its own, `.tools/patroni`, each package checked against a hash of the clone.

Promises: nothing is installed outside that folder, and nothing is fetched while it fits the requirements. It is a
program, because it has to run in the environment of the shell: that is where mirrors are named, and the runner's own
environment is neutral.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from scripts import bootstrap
from tests.support.places import REPOSITORY

_HERE = Path(__file__).parent
_REQUIREMENTS = (_HERE / "build.txt", _HERE / "requirements.txt")
FOLDER = REPOSITORY / ".tools" / "patroni"
PATRONI = FOLDER / "bin" / "patroni"
_SHELL = dict(os.environ)
_BASE = getattr(sys, "_base_executable", sys.executable)  # it has pip, whose configuration may name a mirror


def installed() -> bool:
    """Whether the folder fits the requirements."""
    stamp = FOLDER / ".requirements"
    return PATRONI.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == _wanted()


def install() -> str:
    """Install Patroni unless it is there. Returns why it could not be installed, "" if it was."""
    if installed():
        return ""
    done = subprocess.run(
        [_BASE, "-m", __name__], cwd=REPOSITORY, env=_SHELL, capture_output=True, text=True, check=False
    )
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1] if done.returncode else ""


def _wanted() -> str:
    return sys.version + "".join(file.read_text(encoding="utf-8") for file in _REQUIREMENTS)


def _install() -> None:
    uv, environment = bootstrap._uv(), bootstrap._uv_environment()
    shutil.rmtree(FOLDER, ignore_errors=True)
    bootstrap._run([uv, "venv", "--quiet", "--python", sys.executable, FOLDER], environment)
    into: list[str | Path] = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        FOLDER / "bin" / "python",
        "--require-hashes",
    ]
    for file in _REQUIREMENTS:
        bootstrap._run([*into, "--no-build-isolation", "--requirement", file], environment)
    (FOLDER / ".requirements").write_text(_wanted(), encoding="utf-8")


if __name__ == "__main__":
    _install()
