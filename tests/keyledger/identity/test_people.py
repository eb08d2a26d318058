"""A provider that lies, or that others speak for, begins no session, and no text repeats what it sent."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from api.front.people import Leading
from api.front.problems import HttpError
from domain.access.identity import Claim, Condition, IdentityRule, Issuer
from domain.access.roles import Role
from domain.access.session import SessionReader
from domain.credentials.admission import TokenRow
from domain.credentials.secret import Secret
from domain.endpoints.rules import EndpointRules
from domain.errors import AccessError, ErrorCode
from domain.event_codec import encode, event_of
from domain.events.event import CommandMeta
from domain.events.event_code import LogRow
from keyledger.encryption.ledger_secret import LedgerSecret
from keyledger.identity.issuer_keys import KeysOfIssuers
from keyledger.identity.people import SIGN_IN_S, OpenIdPeople, SessionLog, SignInRules
from tests.support.issuer import Answer, TokenIssuer, rsa_key, signed, token_issuer, unsigned
from tests.support.twins.access_keys import CODES
from tests.support.twins.log import MemoryLog

CLIENT, WORD = "the client", "word & secret"
META = CommandMeta("anonymous", "r-1", "c-1", role="anonymous")
RULE = IdentityRule((Condition(Claim(("sub",)), ("ada",)),), Role.AUDITOR)


@dataclass
class Provider:
    """A provider, and the people who sign in there. The ID token is made from the sign-in's own nonce."""

    issuer: TokenIssuer
    token: Callable[[str], str] | None = None
    log: MemoryLog = field(default_factory=MemoryLog)
    access_token: str = "an.access-token"

    def told(self, **claims: object) -> None:
        """Offer user info with these claims."""
        self.issuer.metadata["userinfo_endpoint"] = f"{self.issuer.url}/userinfo"
        self.issuer.answers["/userinfo"] = Answer(json.dumps(claims).encode())

    def __post_init__(self) -> None:
        self.issuer.metadata = {
            "authorization_endpoint": f"{self.issuer.url}/authorize?tenant=1",
            "token_endpoint": f"{self.issuer.url}/token",
        }
        self.people = self.signing_in(RULE)

    def signing_in(self, rule: IdentityRule) -> OpenIdPeople:
        """Return who signs in people under a rule."""
        known = Issuer("people", self.issuer.url, (CLIENT,), ("RS256",), (rule,))
        rules = SignInRules(known, CLIENT, Secret(WORD), "https://k.example/auth/callback", ("openid",), "name", 600)

        async def head_of(session: str) -> LogRow | None:
            raise AssertionError("not read here")

        async def write(one: Callable[[], None]) -> None:
            one()

        secret = LedgerSecret(bytes(32))
        reader = SessionReader(lambda: CODES, event_of, lambda: datetime.now(UTC))
        sessions = SessionLog(self.log, head_of, reader, write, lambda: secret)
        keys = KeysOfIssuers().of(known, EndpointRules())
        return OpenIdPeople(rules, keys, sessions, lambda: datetime.now(UTC))

    def id_token(self, nonce: str, header: dict[str, Any] | None = None, **changed: Any) -> str:
        claims = {"sub": "ada", "aud": CLIENT, "nonce": nonce, "name": "Ada", **changed}
        return self.issuer.token(header=header, **claims)

    async def begun(self) -> tuple[Leading, dict[str, str]]:
        led = await self.people.begin("/docs")
        return led, {name: values[0] for name, values in parse_qs(urlsplit(led.location).query).items()}

    async def came_back(self, token: Callable[[str], str], **query: str) -> Leading:
        led, asked = await self.begun()
        answer = {"id_token": token(asked["nonce"]), "access_token": self.access_token}
        self.issuer.answers["/token"] = Answer(json.dumps(answer).encode())
        return await self.people.finish({"code": "c0de", "state": asked["state"], **query}, led.cookie, META)

    def began(self) -> TokenRow:
        """The row of the session that was begun last."""
        event = self.log.events[-1]
        place = (event.originator_id, event.originator_version, event.TOPIC, encode(event))
        code = CODES.code(*place)
        assert code is not None
        return TokenRow(1, "", None, LogRow(1, *place, code.key_id, code.mac))


@pytest.fixture
def provider() -> Iterator[Provider]:
    with token_issuer() as served:
        yield Provider(served)


def code_of(error: Exception) -> str:
    assert isinstance(error, HttpError | AccessError)
    return error.code


def test_a_sign_in_asks_for_a_code_with_a_challenge_and_redeems_it_with_the_verifier(provider: Provider) -> None:
    led, asked = asyncio.run(provider.begun())
    assert led.location.startswith(f"{provider.issuer.url}/authorize?tenant=1&response_type=code&")
    assert (asked["code_challenge_method"], asked["scope"], asked["client_id"]) == ("S256", "openid", CLIENT)
    back = asyncio.run(provider.came_back(provider.id_token))
    assert (back.location, back.seconds) == ("/docs", 600)
    headers, form = provider.issuer.sent[0]
    sent = parse_qs(form)
    assert set(sent) == {"grant_type", "code", "redirect_uri", "code_verifier"}
    assert len(sent["code_verifier"][0]) >= 43
    assert headers["Authorization"] == "Basic dGhlJTIwY2xpZW50OndvcmQlMjAlMjYlMjBzZWNyZXQ="
    (event,) = provider.log.events
    assert (event.TOPIC, event.actor, event.role) == ("PersonSignedIn", f"{provider.issuer.url}#ada", "auditor")
    opened = provider.people.opened(back.cookie)
    assert opened is not None
    assert (opened.actor, opened.name) == (event.actor, "Ada")
    assert provider.people.secure


def test_a_provider_that_wants_the_clients_secret_in_the_form_gets_it_there(provider: Provider) -> None:
    provider.issuer.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    asyncio.run(provider.came_back(provider.id_token))
    headers, form = provider.issuer.sent[0]
    assert "Authorization" not in headers
    assert parse_qs(form)["client_secret"] == [WORD]


def test_id_tokens_that_are_not_for_this_sign_in_begin_no_session(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    one = provider
    now = int(time.time())
    lies: dict[str, Callable[[str], str]] = {
        "another nonce": lambda nonce: one.id_token("x"),
        "no nonce": lambda nonce: one.issuer.token(sub="ada", aud=CLIENT),
        "another client": lambda nonce: one.id_token(nonce, aud="other"),
        "several audiences and no party": lambda nonce: one.id_token(nonce, aud=[CLIENT, "other"]),
        "another party": lambda nonce: one.id_token(nonce, azp="other"),
        "another party of several": lambda nonce: one.id_token(nonce, aud=[CLIENT, "other"], azp="other"),
        "another issuer": lambda nonce: one.id_token(nonce, iss="https://other.example"),
        "no signature": lambda nonce: unsigned(
            {"alg": "none"}, {**one.issuer.claims(sub="ada", aud=CLIENT), "nonce": nonce}
        ),
        "another's signature": lambda nonce: signed(
            rsa_key("forged"),
            {"alg": "RS256", "kid": "one"},
            json.dumps(one.issuer.claims(sub="ada", aud=CLIENT, nonce=nonce)).encode(),
        ),
        "another algorithm": lambda nonce: one.id_token(nonce, {"alg": "RS512"}),
        "expired": lambda nonce: one.id_token(nonce, exp=now - 120),
        "issued long ago": lambda nonce: one.id_token(nonce, iat=now - 7200),
        "not a token": lambda nonce: "x",
        "not ASCII": lambda nonce: "é.é.é",
        "another person": lambda nonce: one.id_token(nonce, sub="mallory"),
        "no person": lambda nonce: one.id_token(nonce, sub=None),
    }
    for name, token in lies.items():
        with pytest.raises((HttpError, AccessError)) as refused:
            asyncio.run(one.came_back(token))
        assert code_of(refused.value) in {"sign-in-failed", ErrorCode.TOKEN_REFUSED, ErrorCode.OUTSIDE_SCOPE}, name
        assert "c0de" not in str(refused.value)
    assert one.log.events == []
    assert "c0de" not in caplog.text
    party = asyncio.run(one.came_back(lambda nonce: one.id_token(nonce, aud=[CLIENT, "other"], azp=CLIENT)))
    assert party.cookie


def test_what_did_not_begin_in_this_browser_or_too_long_ago_is_refused(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def with_cookie(change: Callable[[Leading], str], **query: str) -> None:
        led, asked = await provider.begun()
        await provider.people.finish({"code": "c0de", "state": asked["state"], **query}, change(led), META)

    session = asyncio.run(provider.came_back(provider.id_token)).cookie
    for name, change, query in (
        ("no cookie", lambda led: "", {}),
        ("a changed cookie", lambda led: led.cookie[:-3] + "AAA", {}),
        ("the cookie of a session", lambda led: session, {}),
        ("another state", lambda led: led.cookie, {"state": "x"}),
        ("a state that is not ASCII", lambda led: led.cookie, {"state": "é"}),
        ("no code", lambda led: led.cookie, {"code": ""}),
        ("another issuer", lambda led: led.cookie, {"iss": "https://other.example"}),
    ):
        with pytest.raises(HttpError) as refused:
            asyncio.run(with_cookie(change, **query))
        assert refused.value.code == "sign-in-failed", name
    later = time.time() + SIGN_IN_S
    for now in (later, later - 2 * SIGN_IN_S - 60):
        led, asked = asyncio.run(provider.begun())
        with monkeypatch.context() as patch, pytest.raises(HttpError, match="10 minutes"):
            patch.setattr("keyledger.identity.people.time.time", partial(float, now))
            asyncio.run(provider.people.finish({"code": "c", "state": asked["state"]}, led.cookie, META))
    assert len(provider.log.events) == 1


def test_a_token_endpoint_that_fails_or_refuses_is_reported_without_what_it_said(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    async def answered(answer: Answer) -> None:
        led, asked = await provider.begun()
        provider.issuer.answers["/token"] = answer
        await provider.people.finish({"code": "c0de", "state": asked["state"]}, led.cookie, META)

    said = b'{"error":"invalid_grant","error_description":"text of the provider"}'
    for answer, code in (
        (Answer(said, 400), "sign-in-failed"),
        (Answer(said, 401), "sign-in-failed"),
        (Answer(said, 500), ErrorCode.ISSUER_UNAVAILABLE),
        (Answer(b"", 302, {"Location": "/elsewhere"}), ErrorCode.ISSUER_UNAVAILABLE),
        (Answer(b"{}"), "sign-in-failed"),
        (Answer(b"<html>"), ErrorCode.ISSUER_UNAVAILABLE),
    ):
        with caplog.at_level(logging.DEBUG), pytest.raises((HttpError, AccessError)) as refused:
            asyncio.run(answered(answer))
        assert code_of(refused.value) == code
        assert "text of the provider" not in caplog.text + str(refused.value)
    assert "/elsewhere" not in provider.issuer.asked
    assert "token endpoint did not confirm it (status-400)" in caplog.text
    assert WORD not in caplog.text


def test_endpoints_that_anyone_between_can_read_are_not_used(provider: Provider) -> None:
    for name in ("authorization_endpoint", "token_endpoint"):
        with token_issuer() as served:
            astray = Provider(served)
            served.metadata = {**served.metadata, name: "http://login.example/x"}
            with pytest.raises(AccessError) as refused:
                asyncio.run(astray.came_back(astray.id_token))
            assert refused.value.reason == f"discovery-without-{name}"


def test_a_name_that_cannot_be_shown_is_replaced_by_the_subject(provider: Provider) -> None:
    for name in (None, "", "a\nb", "x" * 201, 7, "sk-proj-0123456789abcdef0123456789abcdef01234567"):
        back = asyncio.run(provider.came_back(partial(provider.id_token, name=name)))
        opened = provider.people.opened(back.cookie)
        assert opened is not None
        assert opened.name == f"{provider.issuer.url}#ada", name


def test_a_session_that_was_begun_at_another_provider_has_ended(provider: Provider) -> None:
    back = asyncio.run(provider.came_back(provider.id_token))
    opened, found = provider.people.opened(back.cookie), provider.began()
    assert opened is not None
    assert provider.people.require(opened, found).name == opened.actor
    with token_issuer() as served, pytest.raises(AccessError) as refused:
        Provider(served).people.require(opened, found)
    assert refused.value.code == ErrorCode.SESSION_ENDED


def test_a_secret_of_another_ledger_opens_no_cookie(provider: Provider) -> None:
    back = asyncio.run(provider.came_back(provider.id_token))
    other = LedgerSecret(bytes([1]) * 32)
    assert other.open_cookie("session", back.cookie) is None
    assert LedgerSecret(bytes(32)).open_cookie("sign-in", back.cookie) is None
    assert provider.people.opened("é") is None


@pytest.mark.parametrize("name", ["\U0001f511" * 200, "A" * 200], ids=["four bytes each", "one byte each"])
def test_a_browser_keeps_the_cookie_of_any_person(provider: Provider, name: str) -> None:
    anyone = IdentityRule((Condition(Claim(("name",)), ("*",)),), Role.AUDITOR)
    provider.people = provider.signing_in(anyone)
    back = asyncio.run(provider.came_back(lambda nonce: provider.id_token(nonce, sub="東" * 255, name=name)))
    opened = provider.people.opened(back.cookie)
    assert opened is not None
    assert opened.name in {name, opened.actor}
    assert len(back.cookie) <= 4000


SIGN_OUT = [
    pytest.param("https://login.example/out", "https://login.example/out?", id="an address"),
    pytest.param("https://login.example/out?tenant=1", "https://login.example/out?tenant=1&", id="with a query"),
    pytest.param(None, None, id="none"),
    pytest.param("javascript:alert(1)", None, id="not an address"),
    pytest.param("http://login.example/out", None, id="without TLS"),
]


@pytest.mark.parametrize(("offered", "begun"), SIGN_OUT)
def test_the_way_out_of_the_provider_names_the_client_and_the_way_back(
    provider: Provider, offered: str | None, begun: str | None
) -> None:
    provider.issuer.metadata["end_session_endpoint"] = offered
    url = asyncio.run(provider.people.sign_out_url())
    if begun is None:
        assert url is None
        return
    assert url == f"{begun}client_id=the+client&post_logout_redirect_uri=https%3A%2F%2Fk.example%2F"


def test_a_subject_that_no_cookie_can_hold_begins_no_session_and_says_so(provider: Provider) -> None:
    provider.people = provider.signing_in(IdentityRule((Condition(Claim(("name",)), ("*",)),), Role.AUDITOR))
    with pytest.raises(HttpError, match="too long for a session"):
        asyncio.run(provider.came_back(lambda nonce: provider.id_token(nonce, sub="\U0001f511" * 255)))
    assert provider.log.events == []


GROUP = IdentityRule((Condition(Claim(("groups",)), ("admins",)),), Role.SYSADMIN)


def role_of(provider: Provider, **claims: Any) -> str:
    asyncio.run(provider.came_back(partial(provider.id_token, **claims)))
    return provider.log.events[-1].role


def test_a_claim_that_the_id_token_lacks_comes_from_the_user_info(provider: Provider) -> None:
    provider.people = provider.signing_in(GROUP)
    provider.told(sub="ada", groups=["admins"])
    assert role_of(provider) == "sysadmin"


@pytest.mark.parametrize(
    ("told", "claims", "code"),
    [
        pytest.param({"sub": "eve", "groups": ["admins"]}, {}, "sign-in-failed", id="of someone else"),
        pytest.param({"groups": ["admins"]}, {}, "sign-in-failed", id="of no one"),
        pytest.param({"sub": "ada", "groups": ["staff"]}, {}, "outside-scope", id="without the group"),
        pytest.param(
            {"sub": "ada", "groups": ["admins"]}, {"groups": ["staff"]}, "outside-scope", id="against the ID token"
        ),
    ],
)
def test_user_info_gives_no_right_that_is_not_this_persons(
    provider: Provider, told: dict[str, Any], claims: dict[str, Any], code: str
) -> None:
    provider.people = provider.signing_in(GROUP)
    provider.told(**told)
    with pytest.raises((HttpError, AccessError)) as refused:
        role_of(provider, **claims)
    assert (code_of(refused.value), provider.log.events) == (code, [])


@pytest.mark.parametrize("access_token", ["a\r\nX-Injected: b", "", "a b", "x" * 9000])
def test_an_access_token_that_is_no_header_is_not_sent(provider: Provider, access_token: str) -> None:
    provider.people = provider.signing_in(GROUP)
    provider.told(sub="ada", groups=["admins"])
    provider.access_token = access_token
    with pytest.raises(HttpError, match="cannot be sent"):
        role_of(provider)


def test_user_info_that_does_not_come_is_an_outage_and_no_session(provider: Provider) -> None:
    provider.people = provider.signing_in(GROUP)
    provider.told(sub="ada")
    provider.issuer.answers["/userinfo"] = Answer(b"down", 500)
    with pytest.raises(AccessError) as refused:
        role_of(provider)
    assert (refused.value.code, provider.log.events) == (ErrorCode.ISSUER_UNAVAILABLE, [])


def test_user_info_is_not_asked_for_what_the_id_token_has(provider: Provider) -> None:
    provider.people = provider.signing_in(GROUP)
    provider.told(sub="eve", groups=["staff"])
    assert role_of(provider, groups=["admins"]) == "sysadmin"
