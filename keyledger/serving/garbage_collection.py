"""How often a process looks for cyclic garbage."""

import gc

_THRESHOLDS = (20_000, 50, 100)  # new objects before a look at the youngest, and such looks before older ones


def collect_rarely() -> None:
    """Collect cyclic garbage in this process less often than by default.

    Requests leave hardly any and loading modules leaves none; collecting at the default rate takes a tenth of the time
    of either.
    """
    gc.set_threshold(*_THRESHOLDS)
