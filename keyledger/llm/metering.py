"""Reports each call that used a key to the usage meter, for the gateway and the pass-through alike.

Promises: a call counts once, when it ends, and only if a request was sent, or was about to be. A stream counts when it
ends or is closed. A call with the global key counts for the tenant that made it, apart from those with its own.
A call failed if the provider did not respond with success, or the response was invalid or incomplete, or the caller
left before there was a response. It was rejected only if the provider said that the key is not valid. Its tokens are
those that the provider said, or unknown; nothing is estimated for the records.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Self

from domain.audit.token_usage import Spent
from domain.audit.usage import GLOBAL_KEY, UsageMeter
from domain.calls.call_admission import Asked, CallAdmission, Reservation
from domain.calls.prices import PriceTable
from domain.calls.tokens import Tokens, ToldUsage
from domain.credentials.resolution import Receipt
from domain.request_context import REQUEST_ID, SERVICE_KEY
from keyledger.llm.requests.most_tokens import Most
from keyledger.llm.wire.observation import Observation
from keyledger.settings.ai_models import Catalogue

_NOTHING, _FREE = Tokens(0, 0), Decimal(0)
_log = logging.getLogger("keyledger.usage")


@dataclass(frozen=True, slots=True)
class Called:
    """The model of a call, for its record.

    model: its name in the catalogue, upstream: its provider's name of it; "" where only the answer may say it.
    generates: the provider bills the call by tokens. access_key: the name of the service key that called.
    """

    catalogue: Catalogue
    prices: PriceTable
    model: str = ""
    upstream: str = ""
    generates: bool = True
    access_key: str = ""

    async def reserve(
        self, admission: CallAdmission | None, provider: str, most: Callable[[], Awaitable[Most]]
    ) -> Reservation | None:
        """Reserve what the call may use of its caller's budgets. most: returns how much that is at most.

        Raises AccessError, StoreUnavailableError.
        """
        if admission is None or not self.generates or not admission.is_budgeted:
            return None
        price = self.prices.of(provider, self.upstream) if self.upstream else None
        tokens = (await most()).of(price)
        return await admission.reserve(Asked(tokens, self.model, price, self.prices.currency))

    def spent(self, provider: str, told: ToldUsage, *, served: bool) -> Spent:
        """Return what the call used. served: the provider may have generated something."""
        tokens = told.tokens()
        if tokens is None and not (served and self.generates):
            tokens = _NOTHING
        model, upstream = self.model, self.upstream or told.model
        if not model:
            known = self.prices.knows(provider, upstream)
            model = self.catalogue.name_of(provider, upstream) or (upstream if known else "")
        cost = None
        if tokens == _NOTHING:
            cost = _FREE
        elif tokens is not None and (price := self.prices.of(provider, upstream)) is not None:
            cost = price.cost(tokens)
        return Spent(self.access_key, model, tokens, cost, self.prices.currency)


def caller_of(admission: CallAdmission | None) -> str:
    """Return the name of the service key whose request this is.

    "" for a caller with an issuer's token or a session, whose name is personal, and for a call that no request made.
    """
    return "" if admission is not None and admission.digest is None else SERVICE_KEY.get("")


class MeteredCall:
    """One call with a credential. Used as a context manager, it counts as failed when an exception leaves the block."""

    def __init__(
        self,
        meter: UsageMeter,
        tenant_id: str,
        receipt: Receipt,
        observation: Observation,
        called: Called | None = None,
        reservation: Reservation | None = None,
    ) -> None:
        """receipt: names the credential. observation: what the wire observes of the call until its end.

        called: None for a call whose tokens are not counted. reservation: of the budgets of the caller's key.
        """
        self._reservation = reservation
        self._meter: UsageMeter | None = meter
        self._tenant_id = tenant_id
        self._receipt = receipt
        self._observation = observation
        self._called = called

    def finish(self, *, failed: bool = False) -> None:
        """Count the call. Does nothing after the first time.

        failed: the call failed even though the wire observed a success.
        """
        meter, self._meter = self._meter, None
        receipt, observation = self._receipt, self._observation
        if meter is None:
            return
        spent = self._spent()
        if self._reservation is not None and spent is not None:
            self._reservation.settle(spent.tokens, spent.cost)
        if not observation.sent:
            return
        meter.used(
            self._tenant_id,
            receipt.provider,
            GLOBAL_KEY if receipt.version is None else receipt.version,
            failed=failed or not observation.accepted,
            rejected=observation.rejected,
            request_id=REQUEST_ID.get(None),
            spent=spent,
        )

    def _spent(self) -> Spent | None:
        if self._called is None:
            return None
        observation, provider = self._observation, self._receipt.provider
        spent = self._called.spent(provider, observation.told, served=observation.may_have_generated)
        if member := observation.told.unusable:
            _log.warning("%s sent token counts that cannot be used (%s); they are unknown", provider, member)
        return spent

    def __enter__(self) -> Self:
        """Return this call."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Count the call if an exception leaves the block; as failed, unless the caller cancelled it."""
        if kind is not None:
            self.finish(failed=issubclass(kind, Exception))
