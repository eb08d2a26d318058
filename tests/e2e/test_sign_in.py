"""People sign in at a provider that others wrote, on two nodes of the whole service, as a browser does."""

import json
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest

from tests.support.checker import check
from tests.support.postgres import TemplatedServer
from tests.support.service import Client, client_of, environment, served
from tests.support.store import open_store

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the provider and its libraries

REDIRECT_URL = "http://localhost:1/auth/callback"
"""The address of the service for browsers. Its port is known too late: they go to the same path at the node."""
CLIENT, CLIENT_WORD = "keyledger", "client-word-0123456789"
TENANT = str(uuid4())
CREDENTIALS = f"/api/v1/sysadmin/tenants/{TENANT}/credentials"
FILE = """
people:
  rules:
    - claims: {groups: keyledger-admins}
      role: sysadmin
    - claims: {groups: keyledger-auditors}
      role: auditor
      tenants_from: tenants
    - claims: {sub: "*"}
      role: none
"""
PEOPLE = {
    "ada": {"name": "Ada Lovelace", "groups": ["staff", "keyledger-admins"]},
    "grace": {"name": "Grace Hopper", "groups": ["keyledger-auditors"], "tenants": [TENANT]},
    "mallory": {"name": "Mallory", "groups": ["staff"]},
}


@dataclass
class Stage:
    """Two nodes, of which the first has the address that the provider leads back to."""

    nodes: tuple[Client, Client]
    provider: str
    browsers: ExitStack

    def browser(self) -> httpx.Client:
        made = httpx.Client(base_url=self.nodes[0].http.base_url, timeout=60, trust_env=False, verify=False)
        return self.browsers.enter_context(made)

    def signed_in(self, person: str, return_to: str = "/docs") -> httpx.Client:
        """A browser in which a person has signed in."""
        browser = self.browser()
        back = self.returned(browser, person, return_to)
        answer = browser.get(back)
        assert (answer.status_code, answer.headers.get("location")) == (303, return_to), answer.text
        return browser

    def returned(self, browser: httpx.Client, person: str, return_to: str = "/") -> str:
        """The address that the provider leads a person back to who signs in there."""
        begun = browser.get("/auth/login", params={"return_to": return_to})
        assert begun.status_code == 303, begun.text
        page = begun.headers["location"]
        assert page.startswith(f"{self.provider}/")
        answer = httpx.post(page, data={"sub": person}, trust_env=False, verify=False)
        assert answer.status_code == 302, answer.text
        back = urlsplit(answer.headers["location"])
        assert f"{back.scheme}://{back.netloc}{back.path}" == REDIRECT_URL
        return f"{back.path}?{back.query}"

    def token(self, browser: httpx.Client) -> dict[str, str]:
        """The header that changes need."""
        return {"X-CSRF-Token": browser.get("/auth/session").json()["csrf_token"]}


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its libraries
        from oidc_provider_mock import (  # type: ignore[import-untyped]  # it says it has types, and has none
            User,
            run_server_in_thread,
        )

    people = [User(sub=sub, claims=claims) for sub, claims in PEOPLE.items()]
    with ExitStack() as stack:
        server = stack.enter_context(run_server_in_thread(user_claims=people))
        issuer = f"http://localhost:{server.server_port}"
        database_url = stack.enter_context(postgres_server.fresh_database())
        file = tmp_path_factory.mktemp("identity") / "identity.yml"
        file.write_text(FILE, encoding="utf-8")
        settings = environment(
            IDENTITY_FILE=str(file),
            OIDC_ISSUER=issuer,
            OIDC_CLIENT_ID=CLIENT,
            OIDC_CLIENT_SECRET=CLIENT_WORD,
            OIDC_REDIRECT_URL=REDIRECT_URL,
        )
        with ExitStack() as running:
            urls = [running.enter_context(served(database_url, settings)) for _ in range(2)]
            nodes = [running.enter_context(client_of(url)) for url in urls]
            yield Stage((nodes[0], nodes[1]), issuer, running.enter_context(ExitStack()))
        with open_store(database_url) as store:
            check(store)


def test_a_person_signs_in_and_may_do_what_the_rule_says(stage: Stage) -> None:
    ada = stage.signed_in("ada")
    session = ada.get("/auth/session").json()
    name = f"{stage.provider}#ada"
    assert (session["actor"], session["name"], session["role"]) == (name, "Ada Lovelace", "sysadmin")
    assert ada.put(f"{CREDENTIALS}/openai", json={"api_key": "sk-0123456789"}, headers=stage.token(ada)).is_success
    assert ada.get(CREDENTIALS).json()["credentials"]
    grace = stage.signed_in("grace")
    assert grace.get(CREDENTIALS).status_code == 200
    assert grace.get(CREDENTIALS.replace(TENANT, str(uuid4()))).json()["code"] == "outside-scope"
    change = grace.delete(f"{CREDENTIALS}/openai", headers=stage.token(grace))
    assert (change.status_code, change.json()["code"]) == (403, "forbidden")


def test_a_person_without_a_rule_does_not_get_in(stage: Stage) -> None:
    browser = stage.browser()
    refused = browser.get(stage.returned(browser, "mallory"))
    assert (refused.status_code, refused.json()["code"]) == (403, "outside-scope")
    assert "keyledger-session" not in browser.cookies


def test_a_session_opens_no_web_socket_from_any_page(stage: Stage) -> None:
    """A browser sends the cookie along, and no header of the page's own."""
    ada = stage.signed_in("ada")
    path = f"/api/v1/tenants/{uuid4()}/providers/openai/v1/realtime"
    assert ada.get(path).json()["code"] == "no-credential"
    handshake = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    for origin in ("https://evil.example", str(ada.base_url)):
        headers = {**handshake, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": origin}
        asked = ada.get(path, headers=headers)
        assert (asked.status_code, asked.json()["code"]) == (401, "unauthenticated")


def test_signing_out_ends_the_session_on_every_node(stage: Stage) -> None:
    ada = stage.signed_in("ada")
    cookie = {"Cookie": f"keyledger-session={ada.cookies['keyledger-session']}"}
    with httpx.Client(base_url=stage.nodes[1].http.base_url, trust_env=False, verify=False) as other:
        assert other.get(CREDENTIALS, headers=cookie).status_code == 200
        assert ada.post("/auth/logout").json()["code"] == "csrf-token-missing"
        assert ada.post("/auth/logout", headers=stage.token(ada)).status_code == 204
        assert "keyledger-session" not in ada.cookies
        for path in (CREDENTIALS, "/auth/session"):
            ended = other.get(path, headers=cookie)
            assert (ended.status_code, ended.json()["code"]) == (401, "session-ended")


def test_a_change_needs_the_sessions_own_token(stage: Stage) -> None:
    ada, other = stage.signed_in("ada"), stage.signed_in("ada")
    for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "x"}, stage.token(other)):
        answer = ada.put(f"{CREDENTIALS}/mistral", json={"api_key": "sk-0123456789"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf-token-missing"), headers
    assert ada.get(f"{CREDENTIALS}/mistral").status_code == 404


def test_what_comes_back_counts_only_in_the_browser_that_it_was_begun_in(stage: Stage) -> None:
    browser, victim = stage.browser(), stage.browser()
    back = stage.returned(browser, "ada")
    victims = stage.returned(victim, "grace")
    code, state = (parse_qs(urlsplit(back).query)[name][0] for name in ("code", "state"))
    for url in (
        back,  # the attacker's answer in the victim's browser
        f"/auth/callback?code={code}",
        f"/auth/callback?code={code}&state=x",
        f"/auth/callback?code={code}&state={state}&state={state}",
        f"/auth/callback?error=access_denied&state={parse_qs(urlsplit(victims).query)['state'][0]}",
        victims + "&iss=https://other.example",
    ):
        answer = victim.get(url)
        assert (answer.status_code, answer.json()["code"]) == (403, "sign-in-failed"), url
    assert stage.browser().get(back).json()["code"] == "sign-in-failed"
    assert victim.get(victims).status_code == 303
    again = victim.get(victims)  # the code is used up, and so is what the browser kept
    assert again.status_code in {403, 503}


def test_a_cookie_that_was_changed_or_is_another_ones_admits_nothing(stage: Stage) -> None:
    ada = stage.signed_in("ada")
    value = ada.cookies["keyledger-session"]
    begun = stage.browser()
    begun.get("/auth/login")
    for cookie in (
        value[:-2] + "AA",
        value[1:],
        "x",
        begun.cookies["keyledger-sign-in"],
        f"{value}; keyledger-session={value}",
    ):
        headers = {"Cookie": f"keyledger-session={cookie}"}
        assert stage.browser().get(CREDENTIALS, headers=headers).json()["code"] == "unauthenticated"


def test_a_browser_comes_back_to_a_path_of_this_service_only(stage: Stage) -> None:
    for wanted in ("https://evil.example", "//evil.example", "/\\evil.example", "evil", "/\r\nX: y", "/" + "a" * 600):
        browser = stage.browser()
        assert browser.get(stage.returned(browser, "ada", wanted)).headers["location"] == "/", wanted


def test_cookies_are_for_this_host_and_out_of_reach_of_scripts(stage: Stage) -> None:
    browser = stage.browser()
    back = stage.returned(browser, "ada")
    for line in browser.get(back).headers.get_list("set-cookie"):
        assert re.search(r"; Path=/; Max-Age=\d+; HttpOnly; SameSite=Lax$", line), line
        assert "domain" not in line.lower()


def test_the_audit_names_the_person_and_no_log_does(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ada = stage.signed_in("ada")
    reason = {"X-Audit-Reason": "ticket-4711", **stage.token(ada)}
    assert ada.put(f"{CREDENTIALS}/anthropic", json={"api_key": "sk-0123456789"}, headers=reason).is_success
    assert ada.post("/auth/logout", headers=stage.token(ada)).status_code == 204
    name = f"{stage.provider}#ada"
    found = stage.nodes[1].http.get("/api/v1/audit/entries", params={"actor": name}).json()["entries"]
    actions = {entry["action"]: entry for entry in found}
    assert actions["signed-in"]["details"]["name"] == "Ada Lovelace"
    assert (actions["set"]["actor"], actions["set"]["role"]) == (name, "sysadmin")
    assert actions["signed-out"]["details"]["session"] == actions["signed-in"]["details"]["session"]
    own = [record for record in caplog.records if not record.name.startswith(("http", "werkzeug", "oidc", "authlib"))]
    texts = "".join(json.dumps(vars(record), default=str) for record in own)
    for part in ("Ada", "#ada", CLIENT_WORD):
        assert part not in texts
