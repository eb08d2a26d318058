"""The environment that tests run in, the same on every machine whatever a shell, a CI system or `nohup` hands down.

Locale, time zone, terminal, colours, proxies, Python's own variables, umask and HOME are fixed; settings of the service
and of its libraries that a developer's shell may hold are gone. What the product does in other environments is tried in
`tests/scripts/commands/test_environments.py`, on processes of their own.
"""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_KEPT = ("PATH", "TMPDIR", "VIRTUAL_ENV")
_KEPT_PREFIXES = ("KEYLEDGER_TEST_", "PYTEST_", "HYPOTHESIS_", "COVERAGE_")
_INHERITED = ("PATH", "HOME", "TMPDIR")
_FIXED = {"LANG": "C.UTF-8", "TZ": "UTC"}


def make_neutral() -> Path:
    """Make the environment of this process neutral. Returns the empty folder that is HOME from now on."""
    home = Path(tempfile.mkdtemp(prefix="keyledger-tests-home-"))
    for name in list(os.environ):
        if name not in _KEPT and not name.startswith(_KEPT_PREFIXES):
            del os.environ[name]
    os.environ.update(_FIXED, HOME=str(home))
    time.tzset()
    os.umask(0o022)
    return home


def inheritable() -> dict[str, str]:
    """Return what a process that a test starts inherits, besides the settings it is given."""
    return {name: text for name, text in os.environ.items() if name in _INHERITED or name.startswith("COVERAGE_")}


def forget(home: Path) -> None:
    """Remove the folder that was HOME."""
    shutil.rmtree(home, ignore_errors=True)


@contextmanager
def hearing_ctrl_c() -> Iterator[None]:
    """Processes started meanwhile hear SIGINT, also where this one was started to ignore it, as by `nohup make test &`.

    An ignored signal is inherited, a handler is not: a new program starts with the default in its place.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
