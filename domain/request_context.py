"""The current task's request id, for code too deep to be passed it.

It is set where a request comes in. A task that no request started has none. No decision depends on it.
"""

from contextvars import ContextVar

REQUEST_ID: ContextVar[str] = ContextVar("keyledger_request_id")
"""The `X-Request-ID` of the request."""
