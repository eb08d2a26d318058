"""People sign in at the certified provider of npm, which demands PKCE and names itself in its answers.

It runs where node is, and the package in `.tools/npm`: npm install --prefix .tools/npm oidc-provider@9
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.places import REPOSITORY
from tests.support.postgres import TemplatedServer
from tests.support.service import environment, served

PACKAGES = REPOSITORY / ".tools/npm"
PROGRAM = REPOSITORY / "tests/support/openid_provider.mjs"
CLIENT, CLIENT_WORD, REDIRECT_URL = "keyledger", "client word & more", "http://localhost:1/auth/callback"
FILE = "people: {rules: [{claims: {groups: ada-group}, role: auditor}]}\n"

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (PACKAGES / "node_modules/oidc-provider").is_dir(),
        reason="oidc-provider is not in .tools/npm: npm install --prefix .tools/npm oidc-provider@9",
    ),
]


@contextmanager
def provider() -> Iterator[str]:
    """The provider while the block lasts; gives its issuer."""
    command = [str(shutil.which("node")), str(PROGRAM), str(PACKAGES), CLIENT, CLIENT_WORD, REDIRECT_URL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        try:
            assert running.stdout is not None
            yield next(line.strip() for line in running.stdout if line.startswith("http"))
        finally:
            running.terminate()


def came_back(person: str, page: str) -> str:
    """Sign in and consent at the provider; return the path and query that it leads back to."""
    with httpx.Client(trust_env=False, verify=False, timeout=60) as browser:
        answer = browser.get(page)
        for _ in range(12):
            if answer.is_redirect:
                wanted = httpx.URL(page).join(answer.headers["location"])
                if str(wanted).startswith(REDIRECT_URL):
                    return wanted.raw_path.decode()
                answer = browser.get(wanted)
                continue
            form = re.search(r'<form[^>]*action="([^"]+)"', answer.text)
            assert form is not None, answer.text
            fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', answer.text))
            answer = browser.post(form[1], data={**fields, "login": person, "password": "any"})
    raise AssertionError("the provider did not lead back")


def test_people_sign_in_at_the_certified_provider(postgres_server: TemplatedServer, tmp_path: Path) -> None:
    (tmp_path / "identity.yml").write_text(FILE, encoding="utf-8")
    with provider() as issuer, postgres_server.fresh_database() as database_url:
        settings = environment(
            IDENTITY_FILE=str(tmp_path / "identity.yml"),
            OIDC_ISSUER=issuer,
            OIDC_CLIENT_ID=CLIENT,
            OIDC_CLIENT_SECRET=CLIENT_WORD,
            OIDC_REDIRECT_URL=REDIRECT_URL,
        )
        with (
            served(database_url, settings) as url,
            httpx.Client(base_url=url, trust_env=False, verify=False, timeout=60) as ada,
            httpx.Client(base_url=url, trust_env=False, verify=False, timeout=60) as mallory,
        ):
            back = came_back("ada", ada.get("/auth/login", params={"return_to": "/docs"}).headers["location"])
            assert f"iss={issuer}".replace(":", "%3A").replace("/", "%2F").removeprefix("iss=") in urlsplit(back).query
            answer = ada.get(back)
            assert (answer.status_code, answer.headers.get("location")) == (303, "/docs"), answer.text
            session = ada.get("/auth/session").json()
            assert (session["actor"], session["name"], session["role"]) == (f"{issuer}#ada", "Name of ada", "auditor")
            assert ada.get("/api/v1/audit/entries").status_code == 200
            refused = mallory.get(came_back("mallory", mallory.get("/auth/login").headers["location"]))
            assert (refused.status_code, refused.json()["code"]) == (403, "outside-scope")
            assert ada.get(back).status_code == 403  # the code was used
