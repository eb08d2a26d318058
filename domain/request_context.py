"""Which request the running task serves, for parts that are too deep to be told: who calls a model tells no request id.

Set where a request comes in; a task that was not started by one has none. It decides about nothing.
"""

from contextvars import ContextVar

REQUEST_ID: ContextVar[str] = ContextVar("keyledger_request_id")
"""The `X-Request-ID` of the request."""
