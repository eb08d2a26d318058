"""Tokens of a real issuer on loopback: which ones count, and which do not."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from api.front.identities import Recognised, Refused
from domain.access.identity import Claim, Condition, IdentityRule, Issuer
from domain.access.roles import Role
from domain.access.scope import Scope
from domain.endpoints.rules import EndpointRules
from domain.errors import AccessError, ErrorCode
from keyledger.identity.issuer_keys import PAUSE_S, IssuerKeys, KeysOfIssuers, client_of
from keyledger.identity.trusted_issuers import TrustedIssuers
from tests.support.issuer import (
    AUDIENCE,
    SUBJECT,
    TokenIssuer,
    ec_key,
    public,
    rsa_key,
    signed,
    token_issuer,
    unsigned,
)
from tests.support.scenario import TENANT

NOT_RECOGNISED = "not recognised"
RULE = IdentityRule((Condition(Claim(("sub",)), (SUBJECT,)),), Role.RUNTIME, Scope(tenants=(TENANT,)))


@pytest.fixture
def issuer() -> Iterator[TokenIssuer]:
    with token_issuer() as served:
        yield served


def trusting(*issuers: Issuer) -> TrustedIssuers:
    kept = KeysOfIssuers()
    return TrustedIssuers(issuers, lambda one: kept.of(one, EndpointRules()), lambda: datetime.now(UTC))


def known(issuer: TokenIssuer, *algorithms: str) -> Issuer:
    return Issuer("tests", issuer.url, (AUDIENCE,), algorithms or ("RS256", "ES256"), (RULE,))


def outcome(trusted: TrustedIssuers, token: str) -> str:
    """Return why a token does not count, "" if it does."""

    async def recognised() -> str:
        try:
            found = await trusted.recognise(token.encode())
        except AccessError as error:
            return f"{error.code}: {error.detail}"
        if isinstance(found, Refused):
            return found.error.detail
        return NOT_RECOGNISED if found is None else ""

    return asyncio.run(recognised())


def test_a_token_of_a_trusted_issuer_is_a_caller_with_the_scope_of_its_rule(issuer: TokenIssuer) -> None:
    found = asyncio.run(trusting(known(issuer)).recognise(issuer.token().encode()))
    assert isinstance(found, Recognised)
    assert found.name == f"{issuer.url}#{SUBJECT}"
    assert (found.identity.role, found.identity.terms.scope) == (Role.RUNTIME, Scope(tenants=(TENANT,)))
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
    assert "iat" not in repr(found)


def hmac_with_public_key(issuer: TokenIssuer, algorithm: str = "HS256") -> str:
    """The classic confusion: a public key, which everyone has, taken for a shared secret."""
    begun = unsigned({"alg": algorithm, "kid": "one", "typ": "JWT"}, issuer.claims())[:-1]
    secret = rsa_key("one").as_pem(private=False)
    mac = hmac.new(secret, begun.encode(), hashlib.sha256).digest()
    return f"{begun}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def carrying_its_own_key(issuer: TokenIssuer, **header: object) -> str:
    forger = rsa_key("forged")
    return issuer.token(forger, {"kid": "one", "jwk": public(forger), **header})


def signed_with(issuer: TokenIssuer, **header: object) -> str:
    return issuer.token(header=header)


FOREIGN: dict[str, Callable[[TokenIssuer], str]] = {
    "HS256 with the public key": hmac_with_public_key,
    "RS256 over a MAC": lambda issuer: hmac_with_public_key(issuer, "RS256"),
    "none": lambda issuer: unsigned({"alg": "none", "kid": "one"}, issuer.claims()),
    "none in other letters": lambda issuer: unsigned({"alg": "nOnE", "kid": "one"}, issuer.claims(), b"x"),
    "no signature": lambda issuer: issuer.token().rpartition(".")[0] + ".",
    "a changed claim": lambda issuer: ".".join(
        [issuer.token().split(".")[0], issuer.token(sub="root").split(".")[1], issuer.token().split(".")[2]]
    ),
    "an algorithm that is not listed": lambda issuer: issuer.token(header={"alg": "RS384"}),
    "an algorithm that is not one": lambda issuer: unsigned({"alg": "XX1", "kid": "one"}, issuer.claims(), b"x"),
    "an algorithm of another kind of key": lambda issuer: issuer.token(ec_key("one")),
    "a key that the issuer does not list": lambda issuer: issuer.token(rsa_key("forged")),
    "its own key in the header": carrying_its_own_key,
    "an address of keys in the header": lambda issuer: carrying_its_own_key(
        issuer, jku=f"{issuer.url}/forged", x5u=f"{issuer.url}/forged"
    ),
    "another issuer": lambda issuer: issuer.token(iss="https://issuer.example"),
    "no issuer": lambda issuer: issuer.token(iss=None),
    "an issuer with a slash more": lambda issuer: issuer.token(iss=f"{issuer.url}/"),
    "several issuers": lambda issuer: issuer.token(iss=[issuer.url]),
    "a critical header": lambda issuer: signed_with(issuer, crit=["exp"], exp=60),
    "a critical header that is understood elsewhere": lambda issuer: signed_with(issuer, crit=["kid"]),
    "a critical header that changes nothing": lambda issuer: signed_with(issuer, crit=["b64"], b64=True),
    "an unencoded payload": lambda issuer: signed_with(issuer, crit=["b64"], b64=False),
    "an unencoded payload that is not said to be critical": lambda issuer: signed_with(issuer, b64=False),
    "a nested token": lambda issuer: signed(
        rsa_key("one"), {"alg": "RS256", "kid": "one", "cty": "JWT"}, issuer.token().encode()
    ),
    "a type that is not for access": lambda issuer: signed_with(issuer, typ="logout+jwt"),
    "claims that are a list": lambda issuer: signed(rsa_key("one"), {"alg": "RS256", "kid": "one"}, b"[1]"),
    "claims nested deeper than can be read": lambda issuer: signed(
        rsa_key("one"), {"alg": "RS256", "kid": "one"}, b"[" * 12_000
    ),
    "a header that is not JSON": lambda issuer: f"AAAA.{issuer.token().partition('.')[2]}",
    "a huge header": lambda issuer: signed_with(issuer, more="x" * 20_000),
    "a huge payload": lambda issuer: issuer.token(more="x" * 20_000),
    "five parts": lambda issuer: f"{issuer.token()}.AAAA.AAAA",
    "a key id that is not a text": lambda issuer: signed_with(issuer, kid=7),
}


def test_a_token_that_no_trusted_issuer_signed_for_access_is_not_recognised(issuer: TokenIssuer) -> None:
    trusted = trusting(known(issuer))
    assert outcome(trusted, issuer.token()) == ""
    taken = [name for name, forged in FOREIGN.items() if outcome(trusted, forged(issuer)) != NOT_RECOGNISED]
    assert taken == []
    assert "/forged" not in issuer.asked


@dataclass(frozen=True)
class Ago:
    """A time so many seconds before the test reads the clock; the module may have been loaded long before."""

    seconds: float


def at_last(changed: Mapping[str, Any]) -> dict[str, Any]:
    now = int(time.time())
    return {name: now - value.seconds if isinstance(value, Ago) else value for name, value in changed.items()}


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "another audience": ({"aud": "other"}, "another audience"),
    "no audience": ({"aud": None}, "another audience"),
    "audiences without ours": ({"aud": ["a", "b"]}, "another audience"),
    "an audience that contains ours": ({"aud": "keyledger2"}, "another audience"),
    "expired": ({"exp": Ago(120)}, "has expired"),
    "never expires": ({"exp": None}, "when it expires"),
    "not said when issued": ({"iat": None}, "when it was issued"),
    "not valid yet": ({"nbf": Ago(-300)}, "not valid yet"),
    "issued in the future": ({"iat": Ago(-300), "nbf": None}, "not valid yet"),
    "older than accepted": ({"iat": Ago(3700), "exp": Ago(-9999)}, "longer ago"),
    "a time that is a text": ({"exp": "tomorrow"}, "time that cannot be read"),
    "a time that is not finite": ({"exp": float("nan")}, "time that cannot be read"),
    "a time beyond all calendars": ({"exp": 10**18}, "time that cannot be read"),
    "a time that is a boolean": ({"exp": True}, "time that cannot be read"),
    "another subject": ({"sub": "system:serviceaccount:other:app"}, "No rule"),
    "a subject that begins like ours": ({"sub": f"{SUBJECT}x"}, "No rule"),
    "no subject": ({"sub": None}, "no subject"),
    "half a character": ({"sub": "a\ud800"}, "no subject"),
    "a subject that is a key": ({"sub": "sk-proj-0123456789abcdef0123456789abcdef01234567"}, "API key"),
    "a subject that is too long": ({"sub": "x" * 256}, "no subject"),
}


def test_a_token_that_does_not_count_is_refused_with_the_reason(issuer: TokenIssuer) -> None:
    trusted = trusting(known(issuer))
    for name, (changed, reason) in UNFIT.items():
        said = outcome(trusted, issuer.token(**at_last(changed)))
        assert reason in said, (name, said)


FIT: dict[str, dict[str, Any]] = {
    "expired within the skew": {"exp": Ago(20)},
    "a clock that is ahead within the skew": {"iat": Ago(-20), "nbf": Ago(-20)},
    "several audiences": {"aud": ["other", AUDIENCE]},
    "no nbf": {"nbf": None},
    "times with fractions": {"iat": Ago(0.5), "exp": Ago(-60.5)},
    "a late end, soon after it was issued": {"exp": Ago(-(10**7))},
}


def test_what_counts(issuer: TokenIssuer) -> None:
    trusted = trusting(known(issuer))
    for name, changed in FIT.items():
        assert outcome(trusted, issuer.token(**at_last(changed))) == "", name
    for header in ({"typ": "at+JWT"}, {"typ": None}, {"kid": None}, {"x5t": "AAAA", "jku": "https://h.example/k"}):
        assert outcome(trusted, issuer.token(header=header)) == "", header


def test_a_token_ends_at_its_expiry_or_once_it_is_too_old_whichever_is_first(issuer: TokenIssuer) -> None:
    trusted = trusting(known(issuer))
    now = int(time.time())
    for issued, expires, ends in ((now, now + 60, now + 120), (now - 3000, now + 9999, now + 660)):
        found = asyncio.run(trusted.recognise(issuer.token(iat=issued, nbf=issued, exp=expires).encode()))
        assert isinstance(found, Recognised)
        assert found.identity.terms.expires_at == datetime.fromtimestamp(ends, UTC)


def test_one_key_id_for_two_keys_is_not_ambiguous_where_either_fits(issuer: TokenIssuer) -> None:
    issuer.keys = [public(ec_key("same")), public(rsa_key("same")), public(rsa_key("one"), kid="same")]
    trusted = trusting(known(issuer))
    for key in (ec_key("same"), rsa_key("same"), rsa_key("one")):
        assert outcome(trusted, issuer.token(key, {"kid": "same"})) == ""


def test_a_key_that_the_issuer_replaced_under_its_old_id_is_found_by_the_next_token(issuer: TokenIssuer) -> None:
    seconds = 1000.0
    one = known(issuer)
    keys = IssuerKeys(one, client_of(one, EndpointRules()), lambda: seconds)
    trusted = TrustedIssuers([one], lambda _: keys, lambda: datetime.now(UTC))
    before, after = issuer.token(), issuer.token(rsa_key("two"), {"kid": "one"})
    assert outcome(trusted, before) == ""
    issuer.keys = [public(rsa_key("two"), kid="one")]
    seconds += PAUSE_S
    assert (outcome(trusted, after), outcome(trusted, before)) == ("", NOT_RECOGNISED)


def test_keys_that_are_weak_secret_or_for_something_else_check_nothing(issuer: TokenIssuer) -> None:
    good = public(rsa_key("one"))
    with pytest.warns(UserWarning, match="2048"):
        short = RSAKey.generate_key(1024, {"kid": "one"})
    listed = {
        "short": public(short),
        "a shared secret": {"kty": "oct", "kid": "one", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"},
        "published with its private part": rsa_key("one").as_dict(private=True),
        "for encryption": {**good, "use": "enc"},
        "for other operations": {**good, "key_ops": ["encrypt"]},
        "for another algorithm": {**good, "alg": "RS512"},
        "not a key": {"kty": "RSA", "kid": "one", "n": "!", "e": "AQAB"},
        "of an unknown kind": {"kty": "AKP", "kid": "one"},
        "with numbers for texts": {**good, "n": 7},
    }
    for name, key in listed.items():
        issuer.keys = [public(ec_key("other")), key]
        signing = short if name == "short" else rsa_key("one")
        assert outcome(trusting(known(issuer)), issuer.token(signing, {"kid": "one"})) == NOT_RECOGNISED, name


def test_other_rules_after_a_reload_apply_to_requests_under_way(issuer: TokenIssuer) -> None:
    found = asyncio.run(trusting(known(issuer)).recognise(issuer.token().encode()))
    assert isinstance(found, Recognised)
    narrowed = IdentityRule(RULE.conditions, Role.RUNTIME, Scope(providers=("mistral",)))
    after = trusting(Issuer("tests", issuer.url, (AUDIENCE,), ("RS256",), (narrowed,)))
    assert after.require(found.identity).terms.scope == narrowed.scope
    none = IdentityRule(RULE.conditions, None)
    for rules in ((), (none, RULE)):
        with pytest.raises(AccessError) as refused:
            trusting(Issuer("tests", issuer.url, (AUDIENCE,), ("RS256",), rules)).require(found.identity)
        assert refused.value.code == ErrorCode.OUTSIDE_SCOPE
    with pytest.raises(AccessError) as gone:
        trusting().require(found.identity)
    assert gone.value.code == ErrorCode.TOKEN_REFUSED


def test_no_text_repeats_a_token_or_a_claim(issuer: TokenIssuer, caplog: pytest.LogCaptureFixture) -> None:
    trusted = trusting(known(issuer))
    secret = "value-that-no-text-may-hold"
    for changed, _ in UNFIT.values():
        token = issuer.token(**{"more": secret, **at_last(changed)})
        said = outcome(trusted, token) + caplog.text
        assert secret not in said
        assert token.split(".")[1][:20] not in said
        assert json.dumps(SUBJECT) not in said
