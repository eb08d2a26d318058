"""People who sign in with OpenID Connect, and their sessions. Implements `api.front.people.People`.

Promises: a person comes back to the browser that they left from: what that browser keeps is sealed and has to hold the
`state`; the code is redeemed with the PKCE verifier in it, and the ID token has to hold the nonce in it. A session is
in the log before its cookie leaves. What a browser keeps admits nothing by itself: each request reads the log.
Where the ID token lacks a claim that a rule asks for, the provider's user info is asked once; a claim that the ID token
has is never replaced by it.
Refuses: answers of another issuer (RFC 9207), ID tokens that are not for this client alone (`azp`), and whatever
`trusted_issuers` refuses. Standards: OpenID Connect Core 1.0, RFC 6749, RFC 7636.
"""

import base64
import hashlib
import hmac
import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import quote, urlencode, urljoin
from uuid import uuid4

from api.front.people import Leading, OpenedCookie
from api.front.problems import HttpError
from domain.access.identity import Identity, Issuer, Vouched, identity_of, name_of
from domain.access.session import Session, SessionReader, by_digest, session_ended, sign_in, sign_out, stream_of_session
from domain.credentials.admission import TokenRow
from domain.credentials.key_shapes import holds_key
from domain.credentials.secret import Secret
from domain.endpoints.issuers import issuer_address_error
from domain.errors import AccessError
from domain.events.event import Clock, CommandMeta
from domain.events.event_code import LogRow
from domain.events.event_log import EventLog
from keyledger.encryption.ledger_secret import LedgerSecret
from keyledger.identity.issuer_client import Form, unanswered
from keyledger.identity.issuer_keys import IssuerKeys
from keyledger.identity.signed_tokens import audiences_of, read_token
from keyledger.identity.trusted_issuers import checked, end_of
from keyledger.log.decided_append import append_decided

_log = logging.getLogger("keyledger.identity")

SIGN_IN_S = 600
"""Seconds in which a person has to come back from the provider."""
SESSION_COOKIE_MAX = 3800
"""Characters of the value of a session's cookie: browsers drop one of more than 4096 with its name and attributes."""
_AT_ONCE = 20
_BEARER = re.compile("[A-Za-z0-9._~+/-]{1,8000}=*")  # RFC 6750, section 2.1
_RETURN_MAX = 512
_NAME_MAX = 200


@dataclass(frozen=True, slots=True)
class SignInRules:
    """The provider and the client, and what its people may do. issuer: with the client as its only audience."""

    issuer: Issuer
    client_id: str
    client_secret: Secret
    redirect_url: str
    scopes: tuple[str, ...]
    name_claim: str
    session_s: int


@dataclass(frozen=True, slots=True)
class SessionLog:
    """How sessions are kept. write: carries out a write and waits until every node obeys it."""

    log: EventLog
    head_of: Callable[[str], Awaitable[LogRow | None]]
    reader: SessionReader
    write: Callable[[Callable[[], None]], Awaitable[None]]
    secret: Callable[[], LedgerSecret]


class OpenIdPeople:
    """Signs people in at one provider."""

    def __init__(self, rules: SignInRules, keys: IssuerKeys, sessions: SessionLog, clock: Clock) -> None:
        self.secure = rules.redirect_url.startswith("https://")
        self._rules = rules
        self._keys = keys
        self._sessions = sessions
        self._clock = clock
        self._in_force = by_digest(rules.issuer.rules)
        self._finishing = 0

    async def begin(self, return_to: str) -> Leading:
        """Return where a person signs in, with what the browser keeps meanwhile. Raises AccessError."""
        await self._keys.current()
        endpoint = self._endpoint("authorization_endpoint")
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        kept = {"s": state, "n": nonce, "v": verifier, "r": _own_path(return_to), "t": int(time.time())}
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._rules.client_id,
            "redirect_uri": self._rules.redirect_url,
            "scope": " ".join(self._rules.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        location = f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"
        return Leading(location, self._sealed("sign-in", kept), SIGN_IN_S)

    async def finish(self, query: Mapping[str, str], cookie: str, meta: CommandMeta) -> Leading:
        """Begin the session of a person who comes back. Raises HttpError, AccessError, StoreUnavailableError."""
        kept = self._opened("sign-in", cookie)
        if kept is None or not 0 <= time.time() - float(str(kept["t"])) < SIGN_IN_S:
            raise _failed("was not begun in this browser, or took longer than 10 minutes")
        if not hmac.compare_digest(query.get("state", "").encode(), str(kept["s"]).encode()):
            raise _failed("does not belong to the one that this browser began last")
        if query.get("iss", self._rules.issuer.url) != self._rules.issuer.url:
            raise _failed("was answered by another issuer")
        if not query.get("code"):
            raise _failed("was refused by the provider, or ended there")
        if self._finishing >= _AT_ONCE:
            raise unanswered("crowded")
        self._finishing += 1
        try:
            claims = await self._claims(query["code"], str(kept["v"]), str(kept["n"]))
        finally:
            self._finishing -= 1
        session = await self._begun(claims, meta)
        return Leading(str(kept["r"]), session, self._rules.session_s)

    async def end(self, opened: OpenedCookie, meta: CommandMeta) -> None:
        """End a session on every node. Raises StoreUnavailableError."""
        log, stream = self._sessions.log, stream_of_session(opened.session)

        def ended() -> None:
            def decide() -> list[object]:
                event = sign_out(opened.session, log.last(stream), meta, self._clock())
                return [event] if event is not None else []

            append_decided(log, decide)  # type: ignore[type-var]  # an event

        await self._sessions.write(ended)

    async def sign_out_url(self) -> str | None:
        """Return where a person signs out of the provider, too (OpenID Connect RP-Initiated Logout 1.0).

        None where the provider offers nothing, or was never reached. It is named by `client_id`, not by the ID token:
        that is not kept, since it would not fit into a cookie, and must not appear in addresses.
        """
        if not self._keys.document:
            with suppress(AccessError):
                await self._keys.current()
        endpoint = self._keys.document.get("end_session_endpoint")
        if not isinstance(endpoint, str) or issuer_address_error(endpoint):
            return None
        back = urljoin(self._rules.redirect_url, "/")
        query = urlencode({"client_id": self._rules.client_id, "post_logout_redirect_uri": back})
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    def opened(self, cookie: str) -> OpenedCookie | None:
        """Return the content of the cookie of a session; None if no node of this ledger wrote it."""
        kept = self._opened("session", cookie)
        if kept is None:
            return None
        session, actor, name, csrf_token = (str(kept[name]) for name in "sanc")
        return OpenedCookie(session, actor, name or actor, csrf_token)

    async def read(self, opened: OpenedCookie) -> TokenRow | None:
        """Read what the log has of a session. Raises StoreUnavailableError."""
        head = await self._sessions.head_of(opened.session)
        return None if head is None else TokenRow(head.version, opened.session, None, head)

    def require(self, opened: OpenedCookie, found: TokenRow | None) -> Session:
        """Return the session as log and rules have it now. Raises AccessError, CredentialIntegrityError."""
        if not opened.actor.startswith(f"{self._rules.issuer.url}#"):
            raise session_ended("was begun at another provider")
        return self._sessions.reader.session_of(opened.session, opened.actor, found, self._in_force)

    async def _claims(self, code: str, verifier: str, nonce: str) -> Mapping[str, object]:
        """Redeem a code, and return the claims of the ID token that is meant for this sign-in."""
        await self._keys.current()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._rules.redirect_url,
            "code_verifier": verifier,
        }
        answer = await self._redeemed(form)
        text = answer.get("id_token")
        token = read_token(text.encode()) if isinstance(text, str) and text.isascii() else None
        issuer = self._rules.issuer
        if token is None or token.issuer != issuer.url or (claims := await checked(token, issuer, self._keys)) is None:
            raise _failed("was answered with a token that the provider did not sign")
        audiences, party = audiences_of(claims), claims.get("azp")
        if self._rules.client_id not in audiences or (len(audiences) > 1 and party is None):
            raise _failed("was answered with a token for another client")
        if party is not None and party != self._rules.client_id:
            raise _failed("was answered with a token for another client")
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise _failed("was answered with a token of another sign-in")
        return await self._with_user_info(claims, answer.get("access_token"))

    async def _with_user_info(self, claims: Mapping[str, object], access_token: object) -> Mapping[str, object]:
        """Return the claims with those of the user info, where the ID token lacks one that a rule asks for."""
        asked = {claim for rule in self._rules.issuer.rules for claim in rule.claims}
        endpoint = self._keys.document.get("userinfo_endpoint")
        whole = all(claim.values(claims) for claim in asked)
        if whole or not isinstance(endpoint, str) or not isinstance(access_token, str):
            return claims
        if not _BEARER.fullmatch(access_token):
            raise _failed("was answered with an access token that cannot be sent")
        found = await self._keys.client.ask(self._endpoint("userinfo_endpoint"), Form(None, f"Bearer {access_token}"))
        if found.get("sub") != claims.get("sub"):  # OpenID Connect Core 1.0, section 5.3.2
            raise _failed("was answered with the user info of someone else")
        return {**found, **claims}

    async def _redeemed(self, form: Mapping[str, str]) -> Mapping[str, object]:
        try:
            return await self._keys.client.ask(self._endpoint("token_endpoint"), self._authenticated(form))
        except AccessError as error:
            _log.warning("a sign-in could not be finished: the token endpoint did not confirm it (%s)", error.reason)
            if error.reason in {"status-400", "status-401"}:  # RFC 6749, section 5.2
                raise _failed("was not confirmed by the provider") from None
            raise

    async def _begun(self, claims: Mapping[str, object], meta: CommandMeta) -> str:
        """Begin a session, and return its cookie."""
        issuer, now = self._rules.issuer, self._clock()
        end_of(claims, issuer, now.timestamp())
        vouched = Vouched(issuer.url, name_of(issuer.url, claims.get("sub")), claims)
        ends = datetime.fromtimestamp(int(now.timestamp()) + self._rules.session_s, UTC)
        identity = identity_of(vouched, issuer.rules, ends)
        session, name = str(uuid4()), self._name(claims, identity)
        cookie = self._session_cookie(session, identity.name, name)
        author = replace(meta, actor=identity.name, role=identity.role.value)
        event = sign_in(session, name, identity, issuer.rules, ends, author, now)
        await self._sessions.write(lambda: self._sessions.log.append([event]))
        return cookie

    def _session_cookie(self, session: str, actor: str, name: str) -> str:
        """Return the cookie of a session, without the person's name where browsers would not keep it.

        Raises HttpError for a subject that alone is too long: a browser would drop the cookie and say nothing.
        """
        kept = {"s": session, "a": actor, "n": name, "c": secrets.token_urlsafe(16)}
        for shown in (name, ""):
            if len(cookie := self._sealed("session", {**kept, "n": shown})) <= SESSION_COOKIE_MAX:
                return cookie
        raise _failed("names a subject that is too long for a session")

    def _name(self, claims: Mapping[str, object], identity: Identity) -> str:
        name = claims.get(self._rules.name_claim)
        shown = isinstance(name, str) and 0 < len(name) <= _NAME_MAX and name.isprintable() and not holds_key(name)
        return str(name) if shown else identity.name

    def _authenticated(self, form: Mapping[str, str]) -> Form:
        """Return a form with what shows that this client sends it, in one of the ways of RFC 6749, section 2.3.1."""
        name, secret = self._rules.client_id, self._rules.client_secret.reveal()
        offered = self._keys.document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if isinstance(offered, list) and "client_secret_basic" not in offered:
            return Form({**form, "client_id": name, "client_secret": secret})
        pair = f"{quote(name, safe='')}:{quote(secret, safe='')}".encode()
        return Form(form, f"Basic {base64.b64encode(pair).decode()}")

    def _endpoint(self, name: str) -> str:
        found = self._keys.document.get(name)
        if not isinstance(found, str) or issuer_address_error(found):
            raise unanswered(f"discovery-without-{name}")
        return found

    def _sealed(self, purpose: str, kept: Mapping[str, object]) -> str:
        return self._sessions.secret().seal_cookie(purpose, json.dumps(kept, ensure_ascii=False).encode())

    def _opened(self, purpose: str, cookie: str) -> Mapping[str, object] | None:
        value = self._sessions.secret().open_cookie(purpose, cookie) if cookie else None
        return None if value is None else json.loads(value)


def _own_path(wanted: str) -> str:
    """Return a path of this service; the first page where another host, or none, was wanted."""
    own = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted
    return wanted if own and len(wanted) <= _RETURN_MAX and wanted.isascii() and wanted.isprintable() else "/"


def _failed(why: str) -> HttpError:
    return HttpError("sign-in-failed", f"This sign-in {why}. Begin again: GET /auth/login.")
