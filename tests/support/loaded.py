"""Find the modules that a statement makes an interpreter load."""

import subprocess
import sys

from tests.support.places import REPOSITORY


def packages_loaded_by(statement: str) -> set[str]:
    """The top-level names that a new interpreter loads for a statement, without the standard library's.

    What the vendor of an interpreter loads at its start, such as Debian's sitecustomize, does not count.
    """
    return {name.partition(".")[0] for name in _modules_after(statement) - _modules_after("pass")}


def _modules_after(statement: str) -> set[str]:
    command = [sys.executable, "-c", f"import sys; {statement}; print(*sys.modules)"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, encoding="utf-8", check=True)
    return {name for name in ended.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}
