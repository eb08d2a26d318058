"""The cookies of people who sign in (RFC 6265): how they are written, and what a request with one has to prove.

Promises: a cookie is `HttpOnly` and `SameSite=Lax`, for this host alone; and `Secure`, with the prefix `__Host-`,
unless the service is used over http on the browser's own machine. A request that changes something needs the session's
token in `X-CSRF-Token` too, which another site can neither read nor send.
"""

import hmac

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from api.front.auth import READ
from api.front.people import OpenedCookie
from api.front.problems import HttpError

SESSION, SIGN_IN = "keyledger-session", "keyledger-sign-in"
CSRF_HEADER = "X-CSRF-Token"
_COOKIES_MAX = 16384
"""Characters of all cookies of a request, also those that other services on this host set."""


def cookie_of(headers: Headers, name: str, *, secure: bool) -> str:
    """Return the value of a cookie, "" where it is missing or sent more than once."""
    wanted, sent = _full(name, secure=secure), headers.getlist("cookie")
    if sum(header.count(f"{wanted}=") for header in sent) != 1 or sum(map(len, sent)) > _COOKIES_MAX:
        return ""
    return cookie_parser("; ".join(sent)).get(wanted, "")


def set_cookie(name: str, value: str, seconds: int, *, secure: bool) -> str:
    """Return the value of `Set-Cookie`. seconds: 0 removes the cookie."""
    full = _full(name, secure=secure)
    return f"{full}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"


def require_csrf_token(opened: OpenedCookie, method: str, headers: Headers) -> None:
    """Raise HttpError for a request that may have been made by another site."""
    sent = headers.get(CSRF_HEADER, "").encode("latin-1")
    if method not in READ and not hmac.compare_digest(sent, opened.csrf_token.encode()):
        detail = f"A change with a session needs its token in {CSRF_HEADER}: GET /auth/session shows it."
        raise HttpError("csrf-token-missing", detail)


def _full(name: str, *, secure: bool) -> str:
    return f"__Host-{name}" if secure else name
