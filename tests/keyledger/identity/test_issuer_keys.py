"""The keys of an issuer: read from real HTTP, kept for a bounded time, and no issuer holds up another's callers."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from domain.access.identity import Issuer
from domain.endpoints.rules import EndpointRules
from domain.errors import AccessError, ErrorCode
from keyledger.identity import issuer_client, issuer_keys
from keyledger.identity.issuer_client import ANSWER_MAX, Form, IssuerClient
from keyledger.identity.issuer_keys import FRESH_S, KEPT_S, PAUSE_S, WAITING_MAX, IssuerKeys, read_keys
from tests.support.issuer import Answer, TokenIssuer, public, rsa_key, token_issuer

DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
def issuer() -> Iterator[TokenIssuer]:
    with token_issuer() as served:
        yield served


@dataclass
class Kept:
    """The keys of an issuer, and a clock that a test moves."""

    issuer: TokenIssuer
    seconds: float = 1000.0
    keys: IssuerKeys = field(init=False)

    def __post_init__(self) -> None:
        known = Issuer("tests", self.issuer.url, ("keyledger",), ("RS256",), ())
        client = IssuerClient([self.issuer.url], EndpointRules())
        self.keys = IssuerKeys(known, client, lambda: self.seconds)

    async def ids(self, read: Callable[[IssuerKeys], object] = IssuerKeys.current) -> list[str]:
        found = await read(self.keys)  # type: ignore[misc]  # both are coroutines
        return [str(key.get("kid")) for key in found.keys]

    def reads(self) -> int:
        return self.issuer.asked.count("/keys")


def ids(*names: str) -> list[dict[str, object]]:
    return [public(rsa_key("one"), kid=name) for name in names]


def test_keys_are_read_once_and_again_when_they_are_no_longer_fresh(issuer: TokenIssuer) -> None:
    async def steps() -> None:
        kept = Kept(issuer)
        issuer.keys = ids("a")
        assert await kept.ids() == ["a"]
        issuer.keys = ids("b")
        kept.seconds += FRESH_S - 1
        assert (await kept.ids(), kept.reads()) == (["a"], 1)
        kept.seconds += 1
        assert (await kept.ids(), kept.reads()) == (["b"], 2)

    asyncio.run(steps())


def test_an_issuer_that_withdraws_all_its_keys_admits_no_one_with_them(issuer: TokenIssuer) -> None:
    async def steps() -> None:
        kept = Kept(issuer)
        await kept.ids()
        issuer.keys = []
        kept.seconds += FRESH_S
        for _ in range(2):
            with pytest.raises(AccessError):
                await kept.ids()
        issuer.keys = ids("new")
        kept.seconds += PAUSE_S
        assert await kept.ids() == ["new"]

    asyncio.run(steps())


def test_unknown_keys_are_looked_for_at_once_but_not_more_often_than_the_pause_allows(issuer: TokenIssuer) -> None:
    async def steps() -> None:
        kept = Kept(issuer)
        await kept.ids()
        issuer.keys = ids("new")
        for _ in range(20):
            kept.seconds += PAUSE_S / 25
            assert await kept.ids(IssuerKeys.renewed) == ["one"]
        assert kept.reads() == 1
        kept.seconds += PAUSE_S
        many = await asyncio.gather(*(kept.ids(IssuerKeys.renewed) for _ in range(WAITING_MAX)))
        assert (many, kept.reads()) == ([["new"]] * WAITING_MAX, 2)

    asyncio.run(steps())


def test_an_issuer_that_is_down_keeps_its_last_keys_for_a_bounded_time(
    issuer: TokenIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    async def steps() -> None:
        kept = Kept(issuer)
        await kept.ids()
        issuer.answers["/keys"] = Answer(b"secret-text-of-the-issuer", 500)
        kept.seconds += FRESH_S
        assert (await kept.ids(), kept.reads()) == (["one"], 2)
        assert (await kept.ids(), kept.reads()) == (["one"], 2)  # it was just tried
        kept.seconds += KEPT_S - FRESH_S
        with pytest.raises(AccessError) as refused:
            await kept.ids()
        assert (refused.value.code, refused.value.retry_after) == (ErrorCode.ISSUER_UNAVAILABLE, int(PAUSE_S))
        del issuer.answers["/keys"]
        kept.seconds += PAUSE_S
        assert await kept.ids() == ["one"]

    with caplog.at_level(logging.WARNING):
        asyncio.run(steps())
    assert "the keys of the issuer tests cannot be read (status-500)" in caplog.text
    assert "secret-text" not in caplog.text


def test_a_slow_issuer_makes_a_bounded_number_of_its_own_callers_wait(issuer: TokenIssuer) -> None:
    until = threading.Event()

    async def steps() -> None:
        with token_issuer() as other:
            slow, quick = Kept(issuer), Kept(other)
            issuer.answers["/keys"] = Answer(json.dumps({"keys": issuer.keys}).encode(), until=until)
            waiting = [asyncio.create_task(slow.ids()) for _ in range(WAITING_MAX)]
            await asyncio.sleep(0)
            with pytest.raises(AccessError) as crowded:
                await slow.ids()
            assert (crowded.value.code, crowded.value.retry_after) == (ErrorCode.ISSUER_UNAVAILABLE, 1)
            assert await quick.ids() == ["one"]
            assert not any(task.done() for task in waiting)
            until.set()
            assert await asyncio.gather(*waiting) == [["one"]] * WAITING_MAX
            assert slow.reads() == 1

    asyncio.run(steps())


def test_an_issuer_that_never_answers_is_given_up(issuer: TokenIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuer_client, "PATIENCE_S", 0.05)
    issuer.answers["/keys"] = Answer(b"{}", until=threading.Event())
    with pytest.raises(AccessError) as refused:
        asyncio.run(read_keys(issuer.url, None, IssuerClient([issuer.url], EndpointRules())))
    assert refused.value.reason == "no-answer-in-time"
    monkeypatch.setattr(issuer_client, "PATIENCE_S", 5)
    monkeypatch.setattr(issuer_keys, "PATIENCE_S", 0.05)
    with pytest.raises(AccessError) as refused:
        asyncio.run(read_keys(issuer.url, None, IssuerClient([issuer.url], EndpointRules())))
    assert refused.value.reason == "no-answer-in-time"


UNUSABLE = {
    "a redirect": (Answer(b"", 302, {"Location": "/keys2"}), "status-302"),
    "longer than allowed": (Answer(b'{"keys":[]}' + b" " * ANSWER_MAX), "answer-too-long"),
    "compressed": (Answer(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), "compressed-answer"),
    "not JSON": (Answer(b"<html>"), "not-json"),
    "nested too deeply": (Answer(b"[" * 100_000), "not-json"),
    "a list": (Answer(b"[]"), "not-a-json-object"),
    "no key set": (Answer(b"{}"), "not-a-key-set"),
    "no usable key": (Answer(b'{"keys":[{"kty":"oct","k":"AAAA"}]}'), "no-usable-key"),
}


def test_what_is_not_a_key_set_is_not_used(issuer: TokenIssuer) -> None:
    issuer.answers["/keys2"] = Answer(json.dumps({"keys": issuer.keys}).encode())
    for name, (answer, reason) in UNUSABLE.items():
        issuer.answers["/keys"] = answer
        with pytest.raises(AccessError) as refused:
            asyncio.run(read_keys(issuer.url, None, IssuerClient([issuer.url], EndpointRules())))
        assert refused.value.reason == reason, name
    assert "/keys2" not in issuer.asked


def test_thousands_of_keys_cost_no_more_than_the_first_hundred(issuer: TokenIssuer) -> None:
    issuer.keys = ids(*(f"{number}" for number in range(500)))
    keys, _ = asyncio.run(read_keys(issuer.url, None, IssuerClient([issuer.url], EndpointRules())))
    assert len(keys.keys) == 100


def test_discovery_has_to_be_that_of_the_issuer(issuer: TokenIssuer) -> None:
    for document, reason in (
        ({"issuer": "https://other.example", "jwks_uri": f"{issuer.url}/keys"}, "discovery-of-another-issuer"),
        ({"issuer": issuer.url}, "discovery-without-keys"),
        ({"issuer": issuer.url, "jwks_uri": 7}, "discovery-without-keys"),
    ):
        issuer.answers[DISCOVERY] = Answer(json.dumps(document).encode())
        with pytest.raises(AccessError) as refused:
            asyncio.run(read_keys(issuer.url, None, IssuerClient([issuer.url], EndpointRules())))
        assert refused.value.reason == reason
    own = IssuerClient([issuer.url], EndpointRules())
    assert asyncio.run(read_keys(issuer.url, f"{issuer.url}/keys", own))[0].keys


LED_ASTRAY = (
    *("http://keys.example/keys", "https://169.254.169.254/latest", "https://metadata.google.internal/keys"),
    *("https://127.0.0.1:1/keys", "https://10.0.0.7/keys", "https://localhost/keys", "file:///etc/passwd"),
    *("https://user:word@keys.example/", "https://keys.internal/keys", "https://[::ffff:10.0.0.7]/keys", ""),
)


def test_discovery_leads_to_no_address_that_the_operator_did_not_name(issuer: TokenIssuer) -> None:
    for address in LED_ASTRAY:
        issuer.answers[DISCOVERY] = Answer(json.dumps({"issuer": issuer.url, "jwks_uri": address}).encode())
        with pytest.raises(AccessError) as refused:
            asyncio.run(read_keys(issuer.url, None, IssuerClient([issuer.url], EndpointRules())))
        assert refused.value.reason == "address-not-allowed", address


def test_a_name_is_checked_again_when_the_connection_is_made() -> None:
    async def private(host: str, port: int) -> list[str]:
        return ["10.0.0.7" if host == "keys.example" else "169.254.169.254"]

    client = IssuerClient(["https://own.example"], EndpointRules(), lookup=private)
    for url, reason in (
        ("https://keys.example/keys", "private-address"),
        ("https://own.example/keys", "link-local-or-metadata-address"),
    ):
        with pytest.raises(AccessError) as refused:
            asyncio.run(client.ask(url))
        assert refused.value.reason == reason


def test_certificates_are_checked_with_the_file_that_the_operator_named() -> None:
    client = IssuerClient(["https://127.0.0.1:1"], EndpointRules(), ca_file="/nowhere/ca.pem")
    with pytest.raises(AccessError) as refused:
        asyncio.run(client.ask("https://127.0.0.1:1/keys"))
    assert refused.value.reason == "FileNotFoundError"


def test_a_form_shows_nothing() -> None:
    assert "word" not in repr(Form({"code": "word"}, "Basic word"))
