"""Logging of unexpected errors: the type, where it was raised, and the request id.

Promises: the text of an error, its arguments and local values are never logged, because they may hold anything that was
sent or stored.
"""

import logging
from pathlib import PurePath

_log = logging.getLogger("keyledger.api")


def log_unexpected(error: Exception, request_id: str) -> None:
    """Log one line about `error`."""
    fields = {"type": type(error).__name__, "place": _place(error), "request_id": request_id}
    _log.error("unexpected error: %s", " ".join(f"{name}={value}" for name, value in fields.items()))


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "unknown"
