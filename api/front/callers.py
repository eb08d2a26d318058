"""Callers with access keys: who presents a token, and the admission of each of their requests.

Promises: a request is admitted once, on a row that was read during it. Of a token only its key's name and role are
remembered, which never change; they let the headers of a call be judged before its body is read, and admit nothing.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from api.front.auth import Actor
from api.front.bounds.key_limits import KeyLimits
from domain.access.access_key import AccessKey
from domain.access.admission import KeyReader, require_within
from domain.access.scope import Wanted
from domain.credentials.admission import TokenRow
from domain.errors import ServiceError

MOST = 10_000
"""Tokens whose names are remembered."""

ReadToken = Callable[[str], Awaitable[TokenRow | None]]
"""Returns what the ledger has of a token's digest, read in one statement now. Raises StoreUnavailableError."""


class Callers:
    """The access keys of one process."""

    def __init__(
        self,
        read: ReadToken,
        reader: KeyReader,
        limits: KeyLimits | None = None,
        most: int = MOST,
        *,
        used: Callable[[str], None] = lambda name: None,
    ) -> None:
        """used: called with the name of the key of each request that is admitted."""
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


class RequestAdmission:
    """The admission of one request. Implements `domain.credentials.admission.Admission`.

    key: once the request was admitted. error: why it was not.
    """

    def __init__(self, callers: Callers, digest: str, wanted: Wanted, *, calling: bool) -> None:
        """digest: of the token. wanted: what the headers name. calling: the request is a call to a model."""
        self.digest = digest
        self.key: AccessKey | None = None
        self.error: ServiceError | None = None
        self._callers = callers
        self._wanted = wanted
        self._calling = calling

    def asks(self, wanted: Wanted) -> None:
        """Say what the request names, once that is known; the address of the client stays."""
        self._wanted = replace(wanted, address=self._wanted.address)

    def fails(self) -> None:
        """Say that the answer is an error from before the request said what it asks for."""
        self._wanted = replace(self._wanted, surface=None, filtered=True)

    def admit(self, found: TokenRow | None) -> None:
        """Admit the request on what was read of its token. Raises AccessError, CredentialIntegrityError."""
        try:
            key = self.require(found)
            self._callers.limits.begin(key, calling=self._calling)
        except ServiceError as error:
            self.error = error
            raise
        self.key = key
        self._callers.used(key.name)

    def require(self, found: TokenRow | None) -> AccessKey:
        """Return the key of the request as it was read. Raises AccessError if it does not admit the request."""
        key = self._callers.reader.usable(self.digest, found)
        require_within(key, self._wanted)
        return key

    async def read(self) -> None:
        """Read the token and admit the request. Raises as `admit` does, and StoreUnavailableError."""
        self.admit(await self._callers.read(self.digest))

    def lists(self, wanted: Wanted) -> bool:
        """Whether an answer may show something of its own accord. Only for a request that was admitted."""
        assert self.key is not None  # noqa: S101  the guard admits such requests
        return self.key.terms.scope.error(replace(wanted, address=self._wanted.address)) is None

    def release(self) -> None:
        """Give back what the request took."""
        if self.key is not None and self._calling:
            self._callers.limits.release(self.key)
