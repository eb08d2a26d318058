"""Tokens of a real issuer on the whole service: calls without a key, real scopes, and what is recorded of them."""

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Thread
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from aiohttp import web

from scripts.demo.stand_in_provider import StandInProvider
from tests.support.checker import check
from tests.support.issuer import SUBJECT, TokenIssuer, rsa_key, token_issuer
from tests.support.native_provider import NativeProvider, native_provider
from tests.support.postgres import TemplatedServer
from tests.support.service import Client, client_of, environment, served
from tests.support.store import open_store

TENANT, OTHER_TENANT = str(uuid4()), str(uuid4())
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
FILE = """
issuers:
  - name: tests
    url: {url}
    audience: keyledger
    clock_skew: 0
    rules:
      - claims: {{sub: "{subject}", tier: limited}}
        role: runtime
        requests_per_minute: 1
      - claims: {{sub: "{subject}"}}
        role: runtime
        tenants_from: tenants
      - claims: {{sub: auditor}}
        role: auditor
"""


@dataclass(frozen=True)
class Stage:
    """A node that trusts an issuer, and the providers that it calls."""

    node: Client
    issuer: TokenIssuer
    provider: StandInProvider
    native: NativeProvider

    def call(self, token: str, tenant: str = TENANT, provider: str = "openai") -> httpx.Response:
        """Call a provider's own API with a token."""
        path = f"/api/v1/tenants/{tenant}/providers/{provider}/v1/chat/completions"
        with httpx.Client(base_url=self.node.http.base_url, timeout=60, trust_env=False, verify=False) as http:
            return http.post(path, json=CHAT, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        provider = stack.enter_context(StandInProvider(accepted=lambda key: True))
        native, issuer = stack.enter_context(native_provider()), stack.enter_context(token_issuer())
        database_url = stack.enter_context(postgres_server.fresh_database())
        file = tmp_path_factory.mktemp("identity") / "identity.yml"
        file.write_text(FILE.format(url=issuer.url, subject=SUBJECT), encoding="utf-8")
        addresses = f"{urlsplit(provider.url).netloc},{urlsplit(native.url).netloc}"
        settings = environment(
            OPENAI_API_BASE=f"{provider.url}/v1",
            OPENAI_API_KEY="sk-global-0123456789",
            ENDPOINT_ALLOWED_HOSTS=addresses,
            IDENTITY_FILE=str(file),
        )
        with served(database_url, settings) as url, client_of(url) as node:
            for tenant in (TENANT, OTHER_TENANT):
                assert node.put(tenant, "openai", api_key=f"sk-tenant-{tenant}").status_code == 200
            yield Stage(node, issuer, provider, native)
        with open_store(database_url) as store:
            check(store)


def test_a_token_calls_the_tenants_that_its_claim_names_and_no_other(stage: Stage) -> None:
    token = stage.issuer.token(tenants=[TENANT])
    stage.provider.forget()
    assert stage.call(token).status_code == 200
    assert [request.key for request in stage.provider.requests] == [f"sk-tenant-{TENANT}"]
    refused = stage.call(token, OTHER_TENANT)
    assert (refused.status_code, refused.json()["code"]) == (403, "outside-scope")
    assert len(stage.provider.requests) == 1
    headers = {"X-API-Key": token}
    answer = stage.node.http.get(f"/api/v1/sysadmin/tenants/{TENANT}/credentials", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    auditor = {"X-API-Key": stage.issuer.token(sub="auditor")}
    assert stage.node.http.get("/api/v1/audit/entries", headers=auditor).status_code == 200


def test_the_model_a_token_calls_through_openais_api_is_within_its_scope(stage: Stage) -> None:
    headers = {"X-API-Key": stage.issuer.token(tenants=[TENANT])}
    stage.provider.forget()
    path = "/api/v1/tenants/{}/openai/v1/chat/completions"
    answers = [stage.node.http.post(path.format(one), json=CHAT, headers=headers) for one in (TENANT, OTHER_TENANT)]
    assert [answer.status_code for answer in answers] == [200, 403]
    assert len(stage.provider.requests) == 1


def test_the_limits_of_a_rule_are_those_of_each_caller(stage: Stage) -> None:
    token = stage.issuer.token(tier="limited")
    assert stage.call(token).status_code == 200
    limited = stage.call(token)
    assert (limited.status_code, limited.json()["code"]) == (429, "access-limit-reached")


def test_the_audit_names_issuer_and_subject_and_no_log_does(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    good, expired = stage.issuer.token(tenants=[TENANT]), stage.issuer.token(exp=int(time.time()) - 60)
    assert stage.call(good, OTHER_TENANT).status_code == 403
    refused = stage.call(expired)
    assert (refused.status_code, refused.json()["code"]) == (401, "token-refused")
    assert refused.json()["detail"] == "This token has expired. Get another from its issuer."
    assert "bearer" in refused.headers["WWW-Authenticate"].lower()
    name = f"{stage.issuer.url}#{SUBJECT}"
    found = stage.node.http.get("/api/v1/audit/entries", params={"actor": name, "action": "request-refused"}).json()
    codes = {entry["details"]["code"]: entry["role"] for entry in found["entries"]}
    assert codes["outside-scope"] == "runtime"
    assert codes["token-refused"] == "unknown"
    records = [record for record in caplog.records if not record.name.startswith("http")]  # of the test's own client
    texts = "".join(json.dumps(vars(record), default=str) for record in records)
    assert "(runtime of an issuer)" in texts
    for part in (SUBJECT, *good.split("."), *expired.split(".")):
        assert part not in texts


def test_a_token_that_no_issuer_signed_is_a_wrong_key_like_any_other(stage: Stage) -> None:
    forged = stage.call(stage.issuer.token(rsa_key("forged"), {"kid": "one"}))
    nonsense = stage.call("AAAA.BBBB.CCCC")
    for answer in (forged, nonsense):
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert answer.json()["detail"] == nonsense.json()["detail"]


async def _endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await answer.prepare(request)
    await answer.write(b'data: {"choices": []}\n\n')
    await asyncio.Event().wait()
    raise AssertionError


def test_a_stream_that_outlives_its_token_ends(stage: Stage) -> None:
    provider, tenant = stage.native, str(uuid4())
    provider.answer = _endless
    provider.heard.clear()
    assert stage.node.put(tenant, "vllm", api_key="EMPTY", endpoint=provider.url).status_code == 200
    token, ended = stage.issuer.token(tenants=[tenant], exp=time.time() + 1), list[str]()

    def call() -> None:
        try:
            ended.append(stage.call(token, tenant, "vllm").text)
        except httpx.RemoteProtocolError:
            ended.append("broken off")

    caller = Thread(target=call)
    caller.start()
    caller.join(60)
    assert len(provider.heard) == 1
    assert ended == ["broken off"]
    assert provider.left.wait(60)
    assert stage.call(token, tenant, "vllm").json()["code"] == "token-refused"
