"""A clock that is wrong as a file says, for a service that `tests.support.warmed` starts: seconds by which it is ahead.

The file is named by `KEYLEDGER_TEST_CLOCK` and read whenever the clock is. Only the clock that the parts are given is
changed, `domain.events.event.utc_now`. Under libfaketime (`tests.support.wrong_clock`) everything else is changed too,
but LiteLLM never finishes loading there.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

from domain.events import event

FILE = "KEYLEDGER_TEST_CLOCK"


def _shifted_now() -> datetime:
    # Runs in place of `utc_now`, so it has the names of that module only.
    import os
    from datetime import timedelta

    with open(os.environ["KEYLEDGER_TEST_CLOCK"]) as said:  # noqa: PTH123 - as above
        return datetime.now(UTC) + timedelta(seconds=float(said.read()))


def shift() -> None:
    """Change the clock of this process, also for those who hold it already, if the environment names a file."""
    if FILE in os.environ:
        event.utc_now.__code__ = _shifted_now.__code__


def set_shift(said: Path, seconds: float) -> None:
    """Write by how much a clock is ahead."""
    new = said.with_suffix(".new")
    new.write_text(f"{seconds}\n")
    new.replace(said)
