"""Tells the meter of a call that used a tenant's credential: the one place for every way in which providers are called.

Promises: a call counts once, when it ended, and only if a request was sent with the tenant's own credential or tried to
be. A stream counts at its end, which is also where it is closed before its end.
A call failed when the provider did not answer with success, or what came was no right and whole answer; who leaves
before there was any answer leaves a failed call. It was rejected when the provider said 401, and nothing else.
"""

from types import TracebackType
from typing import Self

from domain.audit.usage import UsageMeter
from domain.credentials.resolution import Receipt, Source
from domain.request_context import REQUEST_ID
from keyledger.llm.wire.observation import Observation


class MeteredCall:
    """One call with a credential. As a context manager it ends, failed, with the exception that leaves the block."""

    def __init__(self, meter: UsageMeter, tenant_id: str, receipt: Receipt, observation: Observation) -> None:
        """receipt: whose credential it is. observation: what the wire sees of the call, up to its end."""
        self._meter: UsageMeter | None = meter
        self._tenant_id = tenant_id
        self._receipt = receipt
        self._observation = observation

    def finish(self, *, failed: bool = False) -> None:
        """Count the call. `failed`: though the wire saw a success. Does nothing for a call that has ended already."""
        meter, self._meter = self._meter, None
        receipt, observation = self._receipt, self._observation
        if meter is None or not observation.sent or receipt.source is not Source.TENANT or receipt.version is None:
            return
        meter.used(
            self._tenant_id,
            receipt.provider,
            receipt.version,
            failed=failed or not observation.accepted,
            rejected=observation.status == 401,
            request_id=REQUEST_ID.get(None),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.finish(failed=issubclass(kind, Exception))
