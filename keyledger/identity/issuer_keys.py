"""The public keys of one issuer, read when they are needed and kept for a bounded time.

Promises: keys that an issuer withdrew admit nothing `FRESH_S` seconds later, as long as the issuer answers; where it
does not, what was read last counts for at most `KEPT_S`. An answer without a usable key withdraws all. A key that is
not known is looked for at once, but the issuer is asked at most once in `PAUSE_S`, however many tokens name unknown
keys. One request at a time is sent to an issuer, and at most `WAITING_MAX` callers wait for it, each no longer than
`PATIENCE_S`: an issuer that is slow or down holds up its own callers, and no others.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from domain.access.identity import Issuer
from domain.endpoints.rules import EndpointRules
from domain.errors import AccessError, ErrorCode
from keyledger.identity.issuer_client import PATIENCE_S, RETRY_S, IssuerClient, unanswered
from keyledger.identity.signed_tokens import PublicKeys

FRESH_S = 300.0
KEPT_S = 3600.0
PAUSE_S = float(RETRY_S)
WAITING_MAX = 64
_ISSUERS_MAX = 100
_WITHDRAWN = "no-usable-key"
DISCOVERY = "/.well-known/openid-configuration"

_log = logging.getLogger("keyledger.identity")


def client_of(issuer: Issuer, rules: EndpointRules) -> IssuerClient:
    """Return what asks an issuer. rules: with the hosts that the operator listed for endpoints."""
    own = [url for url in (issuer.url, issuer.jwks_url) if url is not None]
    return IssuerClient(own, rules, issuer.ca_file)


async def discovered(url: str, client: IssuerClient) -> Mapping[str, object]:
    """Return the discovery document of an issuer (OpenID Connect Discovery 1.0). Raises AccessError."""
    document = await client.ask(url.rstrip("/") + DISCOVERY)
    if document.get("issuer") != url:
        raise unanswered("discovery-of-another-issuer")
    return document


async def read_keys(url: str, jwks_url: str | None, client: IssuerClient) -> tuple[PublicKeys, Mapping[str, object]]:
    """Return the keys of an issuer as they are now, and its discovery document, empty with a `jwks_url`.

    Raises AccessError.
    """
    try:
        async with asyncio.timeout(PATIENCE_S):
            document = await discovered(url, client) if jwks_url is None else {}
            place = jwks_url or document.get("jwks_uri")
            if not isinstance(place, str):
                raise unanswered("discovery-without-keys")
            keys = PublicKeys.read(await client.ask(place))
    except TimeoutError:
        raise unanswered("no-answer-in-time") from None
    except ValueError:
        raise unanswered("not-a-key-set") from None
    if not keys.keys:
        raise unanswered(_WITHDRAWN)
    return keys, document


class IssuerKeys:
    """The keys of an issuer, for one event loop. document: its discovery document, as read with the keys."""

    def __init__(self, issuer: Issuer, client: IssuerClient, now: Callable[[], float] = time.monotonic) -> None:
        """now: a clock in seconds that never goes back."""
        self.document: Mapping[str, object] = {}
        self.client = client
        self._issuer = issuer
        self._now = now
        self._keys: PublicKeys | None = None
        self._read_at = self._tried_at = -KEPT_S
        self._reading: asyncio.Task[None] | None = None
        self._waiting = 0

    async def current(self) -> PublicKeys:
        """Return keys that are fresh, or the last ones of an issuer that does not answer. Raises AccessError."""
        if self._now() - self._read_at >= FRESH_S:
            await self._read_unless_just_tried()
        if self._keys is None or self._now() - self._read_at >= KEPT_S:
            raise unanswered("no-keys")
        return self._keys

    async def renewed(self) -> PublicKeys:
        """Return keys read just now, because a token was signed with none of the known ones. Raises AccessError."""
        await self._read_unless_just_tried()
        return await self.current()

    async def _read_unless_just_tried(self) -> None:
        if self._reading is None:
            if self._now() - self._tried_at < PAUSE_S:
                return
            self._tried_at = self._now()
            self._reading = asyncio.create_task(self._read(), name=f"reading keys of the issuer {self._issuer.name}")
        if self._waiting >= WAITING_MAX:
            detail = "Many callers wait for the issuer of this token already. Try again in a moment."
            raise AccessError(ErrorCode.ISSUER_UNAVAILABLE, detail, 1)
        self._waiting += 1
        try:
            await asyncio.shield(self._reading)
        finally:
            self._waiting -= 1

    async def _read(self) -> None:
        try:
            self._keys, self.document = await read_keys(self._issuer.url, self._issuer.jwks_url, self.client)
            self._read_at = self._now()
        except AccessError as error:
            if error.reason == _WITHDRAWN:  # the issuer did answer
                self._keys = None
            _log.warning("the keys of the issuer %s cannot be read (%s)", self._issuer.name, error.reason)
        finally:
            self._reading = None


class KeysOfIssuers:
    """The keys of all issuers, kept while the operator's rules change."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], IssuerKeys] = {}

    def of(self, issuer: Issuer, rules: EndpointRules) -> IssuerKeys:
        """Return the keys of an issuer. rules: with the hosts that the operator listed for endpoints."""
        place = (issuer.url, issuer.jwks_url, issuer.ca_file, rules.allowed)
        if place not in self._kept:
            while len(self._kept) >= _ISSUERS_MAX:
                del self._kept[next(iter(self._kept))]
            self._kept[place] = IssuerKeys(issuer, client_of(issuer, rules))
        return self._kept[place]
