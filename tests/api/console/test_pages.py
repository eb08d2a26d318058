"""The two pages: what they say, that they need nothing from elsewhere, and that nothing of a document breaks out."""

from html.parser import HTMLParser
from typing import NoReturn
from urllib.parse import urlsplit

import pytest

from api.console import pages
from api.console.pages import rendered_reference
from tests.support.asgi import client_on

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


class Page(HTMLParser):
    """The references and links of a page, and its text."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.leads, self.tags, self.attributes, self.ids, self.words = [], [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.attributes += given
        self.ids += [given["id"]] if "id" in given else []
        self.leads += [given["href"]] if tag == "a" else []
        self.loads += [given[name] for name in ("src", "href") if name in given and tag != "a"]

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        pytest.param(BROWSER, "text/html", id="a browser"),
        pytest.param("*/*", "application/json", id="a program"),
        pytest.param("", "application/json", id="nothing"),
        pytest.param("application/json", "application/json", id="JSON"),
        pytest.param("text/html;q=0.5, application/json", "application/json", id="JSON rather than a page"),
        pytest.param("application/json;q=0.5, TEXT/HTML", "text/html", id="a page rather than JSON"),
        pytest.param("text/html;q=0", "application/json", id="anything but a page"),
        pytest.param("text/html;q=x", "application/json", id="garbage"),
    ],
)
def test_the_root_is_a_page_for_who_prefers_one(harness, accept, kind):
    answer = harness.client.get("/", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["vary"]) == (200, "Accept")
    assert answer.headers["content-type"].startswith(kind)


def test_every_link_of_the_root_leads_somewhere(harness):
    root = harness.client.get("/").json()
    assert (root["name"], set(root)) == ("KeyLedger", {"name", "version", "links"})
    page = Page(harness.client.get("/", headers={"Accept": BROWSER}).text)
    assert [f"/{href}" for href in page.leads] == list(root["links"].values())
    assert [harness.client.get(path).status_code for path in root["links"].values()] == [200] * 5


def test_links_hold_behind_a_prefix(harness):
    client = client_on(harness.app, root_path="/keyledger")
    links = client.get("/").json()["links"].values()
    assert all(path.startswith("/keyledger/") for path in links)


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_loads_one_stylesheet_from_here_and_runs_nothing(harness, path):
    answer = harness.client.get(path, headers={"Accept": BROWSER})
    page = Page(answer.text)
    assert page.loads == ["docs.css"]
    assert not {"script", "style", "iframe", "img", "form", "object"} & set(page.tags)
    assert not {name for name in page.attributes if name.startswith("on") or name == "style"}
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "style-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    sheet = harness.client.get("/docs.css")
    assert sheet.headers["content-type"].startswith("text/css") and "url(" not in sheet.text


def test_the_reference_shows_every_operation_with_what_it_needs_and_a_command(harness):
    document = harness.client.get("/openapi.json").json()
    page = Page(harness.client.get("/docs").text)
    shown, words = set(page.ids), " ".join(page.words)
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation["operationId"] in shown or operation["operationId"].startswith("native")
            assert operation["summary"] in words
            assert all(f" {one['name']} " in words for one in operation.get("parameters", ()))
        assert path in words.replace("\u200b", "")
    assert all(href[1:] in shown for href in page.leads if href.startswith("#"))
    assert len(page.ids) == len(shown)
    assert 'curl -X PUT "$KEYLEDGER_URL/api/v1/sysadmin/tenants/' in words
    assert "credential-integrity" in words and "characters: at least 1" in words


def test_other_sites_are_linked_and_never_loaded(harness):
    outside = {href for href in Page(harness.client.get("/docs").text).leads if urlsplit(href).netloc}
    assert outside == {"https://www.rfc-editor.org/rfc/rfc9457"}


HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)> `</code><script>` {{ 7*7 }} javascript:alert(1)"


def test_nothing_of_a_document_breaks_out_of_the_page():
    schema = {"type": "string", "description": HOSTILE, "enum": [HOSTILE], "examples": [HOSTILE]}
    operation = {
        "tags": [HOSTILE],
        "operationId": HOSTILE,
        "summary": HOSTILE,
        "description": HOSTILE,
        "security": [{}],
        "parameters": [{"name": HOSTILE, "in": "query", "required": True, "description": HOSTILE, "schema": schema}],
        "requestBody": {"content": {HOSTILE: {"schema": {"properties": {HOSTILE: schema}}, "example": {"x": HOSTILE}}}},
        "responses": {
            "200": {"description": HOSTILE, "content": {HOSTILE: {"example": HOSTILE}}},
            "400": {"description": HOSTILE, "content": {"application/problem+json": {}}},
        },
    }
    info = {"title": HOSTILE, "description": HOSTILE}
    page = Page(rendered_reference({"info": info, "paths": {f"/{HOSTILE}": {"get": operation}}}))
    assert not {"script", "img"} & set(page.tags) and "onerror" not in page.attributes
    assert not [href for href in page.leads if href.lower().startswith("javascript:")]
    assert "{{ 7*7 }}" in " ".join(page.words)


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_a_document_that_anyone_may_ask_for_is_made_once(harness, path, monkeypatch):
    first = harness.client.get(path)
    for name in ("rendered_reference", "encode"):
        monkeypatch.setattr(pages, name, _never)
    assert harness.client.get(path).content == first.content != b""


def _never(_document: object) -> NoReturn:
    raise AssertionError("it was made again")
