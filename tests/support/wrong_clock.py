"""The command line, to be run with `tests.support.faketime.clock_of`.

libfaketime 0.9.10 sleeps until a time of the wrong clock, even one that is past, although the sleep asks for another
clock; that ends in an error. A wait for an event is not touched by it.
"""

import sys
import threading
import time


def _sleep(seconds: float) -> None:
    threading.Event().wait(seconds)


if __name__ == "__main__":
    time.sleep = _sleep  # type: ignore[assignment]
    from scripts.main import main

    main(sys.argv[1:])
