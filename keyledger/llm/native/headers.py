"""Decides which headers pass between a caller and a provider in a native call.

Promises: no header that authenticates, identifies or routes the caller reaches the provider, in any spelling that a
server may read as such a header, `x_api_key` for one; no header that names the
account behind the key, sets state in the caller's client or redirects it comes back. Headers not listed here pass,
except those with overlong names, or with control or non-ASCII characters in their values.
Standard: RFC 9110, section 7.6.1 (hop-by-hop headers).
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from domain.calls.key_names import is_key_header, plain
from domain.calls.native import Headers

NAMES_KEPT = 1024
NAME_MAX = 128
"""Bytes in a name. No provider uses longer ones, and the decision for each name is cached."""

_HOP_BY_HOP = (
    *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    *("http2-settings", "proxy-authenticate", "proxy-authorization", "proxy-authentication-info"),
)
_TO_PROVIDER = re.compile(
    "|".join(
        (
            *_HOP_BY_HOP,
            *("cookie2?", "x-goog-user-project", "x-goog-iam-.*", "x-goog-authenticated-.*"),
            *(
                "openai-(?:org|project|user|account).*",
                "x-openai-.*",
                "x-amz-.*",
                "x-ms-client-principal.*",
                "x-ms-token-.*",
                "x-keyledger-.*",
            ),
            # Which part, or in which form, a provider sends: a key cut in two or written otherwise is not found.
            *("range", "if-range", "request-range", "x-ms-range", "accept-charset", "a-im", "want-.*digest"),
            *("host", "content-length", "accept-encoding", "expect", "x-request-id", "max-forwards"),
            *("forwarded", "via", "x-forwarded.*", "x-real-ip", "x-client-ip", "true-client-ip", "cf-.*", "x-envoy-.*"),
            # The client's name, as a proxy in front of a server states it.
            *("(?:x-)?(?:remote|authenticated|webauth|impersonate)-.*", "(?:x-)?client-(?:cert|dn|verify).*"),
            *("(?:x-)?ssl-.*", "x-scope-orgid", "x-consumer-.*"),
            *("x-original-.*", "x-rewrite-.*", "x-http-method.*", "x-method-override", "x-accel-.*"),
            *("origin", "referer", "sec-.*", "traceparent", "tracestate", "baggage", "b3", "x-b3-.*"),
        )
    )
)
# Names of the account. Remaining rate limits pass, because they name nothing.
_ACCOUNT = (
    r"(?!x-ratelimit-|anthropic-ratelimit-).*(?<![a-z])"
    r"(?:organi[sz]ation|account|tenant|subscription|workspace|customer|billing|project|owner|email"
    r"|(?:org|user|team|resource|deployment)(?:id)?s?(?![a-z])).*"
)
_TO_CALLER = re.compile(
    "|".join(
        (
            *_HOP_BY_HOP,
            *("content-md5", "x-ms-content-md5", ".*digest", "accept-ranges"),  # of the body with the key in it
            *("content-length", "content-encoding", "date", "server", "via", "alt-svc", "age", "x-powered-by"),
            *("set-cookie2?", "www-authenticate", "authentication-info", "clear-site-data", "x-api-key", "api-key"),
            *("authorization", "location", "content-location", "operation-location", "refresh", "link"),
            "sec-websocket-.*",
            *("strict-transport-security", "public-key-pins.*", "content-security-policy.*", "access-control-.*"),
            *("report-to", "reporting-endpoints", "nel", "expect-ct", "origin-agent-cluster", "cross-origin-.*"),
            *("x-credential-.*", "x-request-id", "x-accel-.*", "x-sendfile", "cache-control", "x-content-type-options"),
            _ACCOUNT,
        )
    )
)
_UNFIT = re.compile(rb"[^\x20-\x7e\t]")


def to_provider(headers: Headers, key_header: str = "authorization") -> list[tuple[str, str]]:
    """Return the caller's headers that may reach the provider. key_header: the one that carries the key."""
    named = _named_by_connection(headers)
    return [
        (text, value.decode("ascii"))
        for name, value in headers
        if len(name) <= NAME_MAX
        and (text := _for_provider(name, key_header)) is not None
        and name not in named
        and not _UNFIT.search(value)
    ]


def to_caller(headers: Iterable[tuple[bytes, bytes]], holds_key: Callable[[bytes], bool]) -> list[tuple[bytes, bytes]]:
    """Return the provider's headers that may reach the caller. holds_key: returns whether a text contains the key."""
    given = [(name.lower(), value) for name, value in headers]
    named = _named_by_connection(given)
    passed = [
        (text, value)
        for name, value in given
        if len(name) <= NAME_MAX
        and (text := _for_caller(name)) is not None
        and name not in named
        and not _UNFIT.search(value)
    ]
    if holds_key(b"\n".join(part for header in passed for part in header)):
        return [(name, value) for name, value in passed if not holds_key(name) and not holds_key(value)]
    return passed


@lru_cache(maxsize=NAMES_KEPT)
def _for_provider(name: bytes, key_header: str) -> str | None:
    text = name.decode("latin-1")
    read_as = plain(text)
    dropped = read_as == plain(key_header) or is_key_header(read_as) or _TO_PROVIDER.fullmatch(read_as)
    return None if dropped or not name.isascii() else text


_RENAMED = {"x-request-id": b"x-provider-request-id"}
"""A provider's support asks for its request id; the unchanged name is KeyLedger's own."""


@lru_cache(maxsize=NAMES_KEPT)
def _for_caller(name: bytes) -> bytes | None:
    text = name.decode("latin-1")
    if text in _RENAMED:
        return _RENAMED[text]
    return None if not name.isascii() or _TO_CALLER.fullmatch(text) else name


def _named_by_connection(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    listed = b",".join(value for name, value in headers if name == b"connection")
    return frozenset(part.strip().lower() for part in listed.split(b",")) if listed else frozenset()
