"""Callers that a scope limits: who presents the token of an access key, and the admission of each of their requests.

Promises: a request is admitted once, on what its caller stands on then. Of the token of an access key only the key's
name and role are remembered, which never change; they let the headers of a call be judged before its body is read, and
admit nothing.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from api.front.auth import Actor
from api.front.bounds.key_limits import KeyLimits
from api.front.standing import Admitted, KeyStanding, ReadToken, Standing
from domain.access.admission import KeyReader, require_within
from domain.access.budgets import BudgetKind
from domain.access.scope import Wanted
from domain.calls.call_admission import Asked, Reservation
from domain.credentials.admission import TokenRow
from domain.errors import ServiceError

Reserve = Callable[[str, Mapping[BudgetKind, Decimal], Asked], Awaitable[Reservation]]
"""Reserves what a call of an access key, by its name, may use of its budgets."""
MOST = 10_000
"""Tokens whose names are remembered."""


class Callers:
    """The callers of one process that a scope limits."""

    def __init__(
        self,
        read: ReadToken,
        reader: KeyReader,
        limits: KeyLimits | None = None,
        most: int = MOST,
        *,
        used: Callable[[str], None] = lambda name: None,
        reserve: Reserve | None = None,
    ) -> None:
        """used: called with the name of the key of each request that is admitted.

        reserve: takes what a call may use from the budgets of its key.
        """
        self.reserve = reserve
        self.read = read
        self.reader = reader
        self.limits = limits if limits is not None else KeyLimits()
        self.used = used
        self._most = most
        self._known: dict[str, Actor] = {}

    def known(self, digest: str) -> Actor | None:
        """Return the actor that presented this token before, if any."""
        return self._known.get(digest)

    def actor_of(self, digest: str, row: TokenRow) -> Actor:
        """Return the actor of a token, whether it may be used or not. Raises CredentialIntegrityError."""
        key = self.reader.key_of(row)
        actor = Actor(key.name, key.role)
        self._known[digest] = actor
        if len(self._known) > self._most:
            del self._known[next(iter(self._known))]
        return actor

    def standing(self, digest: str) -> KeyStanding:
        """Return what decides about a caller with this token."""
        return KeyStanding(digest, self.read, self.reader)


class RequestAdmission:
    """The admission of one request. Implements `domain.credentials.admission.Admission`.

    caller: once the request was admitted. error: why it was not.
    """

    def __init__(self, callers: Callers, standing: Standing, wanted: Wanted, *, calling: bool) -> None:
        """wanted: what the headers name. calling: the request is a call to a model."""
        self.standing = standing
        self.caller: Admitted | None = None
        self.error: ServiceError | None = None
        self._callers = callers
        self._wanted = wanted
        self._calling = calling

    @property
    def digest(self) -> str | None:
        """The SHA-256 of the token of an access key; None for other callers."""
        return self.standing.digest

    def asks(self, wanted: Wanted) -> None:
        """Say what the request names, once that is known; the address of the client stays."""
        self._wanted = replace(wanted, address=self._wanted.address)

    def fails(self) -> None:
        """Say that the answer is an error from before the request said what it asks for."""
        self._wanted = replace(self._wanted, surface=None, filtered=True)

    def admit(self, found: TokenRow | None) -> None:
        """Admit the request on what was read of its token. Raises AccessError, CredentialIntegrityError."""
        try:
            caller = self.require(found)
            self._callers.limits.begin(caller, calling=self._calling)
        except ServiceError as error:
            self.error = error
            raise
        self.caller = caller
        if self.digest is not None:
            self._callers.used(caller.name)

    def require(self, found: TokenRow | None) -> Admitted:
        """Return the caller as it stands now. Raises AccessError if it may not send this request."""
        caller = self.standing.require(found)
        require_within(caller.terms.scope, self._wanted)
        return caller

    async def read(self) -> None:
        """Read what decides about it, and admit the request. Raises as `admit` does, and StoreUnavailableError."""
        self.admit(await self.standing.read())

    @property
    def is_budgeted(self) -> bool:
        """Whether the caller is an access key with budgets."""
        return self.caller is not None and self.digest is not None and bool(self.caller.terms.limits.budgets)

    async def reserve(self, asked: Asked) -> Reservation | None:
        """Reserve what an admitted call may use of its key's budgets. Raises AccessError, StoreUnavailableError."""
        caller, reserve = self.caller, self._callers.reserve
        if caller is None or reserve is None or not self.is_budgeted:
            return None
        return await reserve(caller.name, caller.terms.limits.budgets, asked)

    def lists(self, wanted: Wanted) -> bool:
        """Whether an answer may show something of its own accord. Only for a request that was admitted."""
        assert self.caller is not None  # noqa: S101  the guard admits such requests
        return self.caller.terms.scope.error(replace(wanted, address=self._wanted.address)) is None

    def release(self) -> None:
        """Give back what the request took."""
        if self.caller is not None and self._calling:
            self._callers.limits.release(self.caller)
