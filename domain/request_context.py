"""The current task's request id and service key, for code too deep to be passed them.

They are set where a request comes in. A task that no request started has none. Nothing that is decided depends on them
but the order in which long responses take turns.
"""

from contextvars import ContextVar

REQUEST_ID: ContextVar[str] = ContextVar("keyledger_request_id")
"""The `X-Request-ID` of the request."""

SERVICE_KEY: ContextVar[str] = ContextVar("keyledger_service_key")
"""The name of the service key that the request presented."""
