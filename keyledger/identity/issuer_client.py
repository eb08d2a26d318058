"""Asks an issuer over HTTP: its discovery document, its keys, and, for people who sign in, its token
endpoint and its user info.

Promises: one request, one answer of JSON, within `PATIENCE_S` seconds and `ANSWER_MAX` bytes; no redirect, proxy of the
environment, cookie or compressed body. Only https, except on loopback hosts that the operator named. An address is
checked when the connection is made: one that the issuer's own documents lead to has to be public, or listed in
ENDPOINT_ALLOWED_HOSTS, or be one that the operator wrote down; link-local and metadata addresses never pass.
Refuses: everything else, with an `AccessError` whose reason is a code or a status, never a text of the issuer.
"""

import asyncio
import json
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast
from urllib.parse import urlsplit

import aiohttp

from domain.endpoints.allowed_hosts import allowed_host
from domain.endpoints.issuers import issuer_address_error
from domain.endpoints.rules import EndpointRules, origin_port
from domain.errors import AccessError, ErrorCode
from keyledger.identity.checked_resolver import CheckedResolver
from keyledger.llm.wire.dialling import ForbiddenAddressError, Lookup, SystemLookup

PATIENCE_S = 5.0
ANSWER_MAX = 256 * 1024
RETRY_S = 10
"""Seconds after which a caller may try again whose issuer did not answer."""


def unanswered(reason: str) -> AccessError:
    """Return the error for an issuer that gave no usable answer. reason: a code, for logs and for the doctor."""
    detail = "The issuer of this token does not answer as it should, so the token cannot be checked. Try again later."
    return AccessError(ErrorCode.ISSUER_UNAVAILABLE, detail, RETRY_S, reason)


@dataclass(frozen=True, slots=True)
class Form:
    """A form to send, with the authentication of a client. fields: none for a GET. Its repr shows nothing."""

    fields: Mapping[str, str] | None
    authorization: str | None = None

    def __repr__(self) -> str:
        return "<form>"


class IssuerClient:
    """Asks one issuer. own: the addresses that the operator wrote down. ca_file: as in `Issuer`."""

    def __init__(
        self, own: Iterable[str], rules: EndpointRules, ca_file: str | None = None, lookup: Lookup | None = None
    ) -> None:
        """rules: with the hosts that the operator listed for endpoints."""
        listed = [allowed_host(f"{_host(url)}:{origin_port(urlsplit(url))}") for url in own]
        self._rules = replace(rules, allowed=(*rules.allowed, *listed))
        self._ca_file = ca_file
        self._lookup = lookup or SystemLookup()

    async def ask(self, url: str, form: Form | None = None) -> Mapping[str, object]:
        """Return the JSON object at an address; with a form, the one that answers it. Raises AccessError."""
        if issuer_address_error(url, self._rules):
            raise unanswered("address-not-allowed")
        try:
            status, body = await asyncio.wait_for(self._answer(url, form), PATIENCE_S)
        except TimeoutError:
            raise unanswered("no-answer-in-time") from None
        except ForbiddenAddressError as error:
            raise unanswered(error.reason) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            forbidden = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
            reason = forbidden.reason if isinstance(forbidden, ForbiddenAddressError) else type(error).__name__
            raise unanswered(reason) from None
        if status != 200:
            raise unanswered(f"status-{status}")
        return _object_in(body)

    async def _answer(self, url: str, form: Form | None) -> tuple[int, bytes]:
        checks = await asyncio.to_thread(trust, self._ca_file)
        resolver = CheckedResolver(self._rules, self._lookup)
        connector = aiohttp.TCPConnector(resolver=resolver, ssl=checks, force_close=True, limit=1)
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "keyledger"}
        fields = form.fields if form is not None else None
        if form is not None and form.authorization is not None:
            headers["Authorization"] = form.authorization
        async with (
            aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False
            ) as session,
            session.request(
                "GET" if fields is None else "POST",
                url,
                data=None if fields is None else dict(fields),
                headers=headers,
                allow_redirects=False,
                max_line_size=8192,
                max_field_size=8192,
            ) as answer,
        ):
            if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise unanswered("compressed-answer")
            return answer.status, await _read(answer)


def trust(ca_file: str | None) -> ssl.SSLContext:
    """Return what certificates are checked with. Blocks. Raises OSError for a file without certificates."""
    return _of_the_system() if ca_file is None else ssl.create_default_context(cafile=ca_file)


@lru_cache(1)
def _of_the_system() -> ssl.SSLContext:
    return ssl.create_default_context()


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > ANSWER_MAX:
            raise unanswered("answer-too-long")
    return bytes(body)


def _object_in(body: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise unanswered("not-json") from None
    if not isinstance(document, dict):
        raise unanswered("not-a-json-object")
    return cast("Mapping[str, object]", document)


def _host(url: str) -> str:
    host = urlsplit(url).hostname or ""
    return f"[{host}]" if ":" in host else host
