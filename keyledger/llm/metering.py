"""Reports each call that used a key to the usage meter, for the gateway and the pass-through alike.

Promises: a call counts once, when it ends, and only if a request was sent, or was about to be. A stream counts when it
ends or is closed. A call with the global key counts for the tenant that made it, apart from those with its own.
A call failed if the provider did not respond with success, or the response was invalid or incomplete, or the caller
left before there was a response. It was rejected only if the provider said that the key is not valid.
"""

from types import TracebackType
from typing import Self

from domain.audit.usage import GLOBAL_KEY, UsageMeter
from domain.credentials.resolution import Receipt
from domain.request_context import REQUEST_ID
from keyledger.llm.wire.observation import Observation


class MeteredCall:
    """One call with a credential. Used as a context manager, it counts as failed when an exception leaves the block."""

    def __init__(self, meter: UsageMeter, tenant_id: str, receipt: Receipt, observation: Observation) -> None:
        """receipt: names the credential. observation: what the wire observes of the call until its end."""
        self._meter: UsageMeter | None = meter
        self._tenant_id = tenant_id
        self._receipt = receipt
        self._observation = observation

    def finish(self, *, failed: bool = False) -> None:
        """Count the call. Does nothing after the first time.

        failed: the call failed even though the wire observed a success.
        """
        meter, self._meter = self._meter, None
        receipt, observation = self._receipt, self._observation
        if meter is None or not observation.sent:
            return
        meter.used(
            self._tenant_id,
            receipt.provider,
            GLOBAL_KEY if receipt.version is None else receipt.version,
            failed=failed or not observation.accepted,
            rejected=observation.rejected,
            request_id=REQUEST_ID.get(None),
        )

    def __enter__(self) -> Self:
        """Return this call."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Count the call if an exception leaves the block; as failed, unless the caller cancelled it."""
        if kind is not None:
            self.finish(failed=issubclass(kind, Exception))
