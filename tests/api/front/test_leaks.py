"""Nothing that is sent as a secret comes back or is logged, however badly it is sent."""

import json
import logging
import secrets
from base64 import b64encode
from urllib.parse import quote

import pytest

from domain.calls.models import Answer, AnswerStream
from domain.errors import ProviderUnavailableError
from tests.api.conftest import CREDENTIALS, OPENAI, TENANT, Harness
from tests.api.scripted import CHAT_ANSWER, TENANT_RECEIPT, Chunks

CANARY = f"sk-CANARY-{secrets.token_hex(12)}"
FORMS = [CANARY, CANARY[3:], CANARY[:-4], quote(CANARY), b64encode(CANARY.encode()).decode(), CANARY.encode().hex()]
JSON = {"Content-Type": "application/json"}
ROUTES = [
    ("PUT", f"{CREDENTIALS}/openai"),
    ("PUT", f"{CREDENTIALS}/azure"),
    ("PUT", f"{CREDENTIALS}/nobody"),
    ("GET", f"{CREDENTIALS}/openai"),
    ("DELETE", f"{CREDENTIALS}/openai"),
    ("GET", CREDENTIALS),
    ("GET", f"{CREDENTIALS}/openai/history"),
    ("GET", "/api/v1/audit/entries"),
    ("GET", f"/api/v1/sysadmin/tenants/{TENANT}/resolution"),
    ("POST", f"{OPENAI}/chat/completions"),
    ("POST", f"{OPENAI}/embeddings"),
    ("GET", f"{OPENAI}/models"),
    ("PATCH", f"{CREDENTIALS}/openai"),
    ("POST", "/api/v1/nowhere"),
    ("POST", "/livez"),
]


def _json(value):
    return json.dumps(value).encode()


BODIES = [
    pytest.param(_json({"api_key": CANARY}), JSON, id="as it should be"),
    pytest.param(_json({"apikey": CANARY}), JSON, id="under a wrong name"),
    pytest.param(_json({CANARY: 1}), JSON, id="as a name"),
    pytest.param(
        _json({"api_key": "sk-0123456789", CANARY: {CANARY: [CANARY]}}), JSON, id="as a name alongside a good key"
    ),
    pytest.param(_json({"api_key": [CANARY]}), JSON, id="in a list"),
    pytest.param(_json({"api_key": {"value": CANARY}}), JSON, id="in an object"),
    pytest.param(_json({"api_key": CANARY, "endpoint": 5}), JSON, id="alongside a field of a wrong type"),
    pytest.param(_json({"api_key": CANARY, "endpoint": f"https://{CANARY}@x.example.com"}), JSON, id="in the endpoint"),
    pytest.param(
        _json({"api_key": CANARY, "api_version": CANARY, "deployment_name": CANARY}), JSON, id="in all fields"
    ),
    pytest.param(_json({"api_key": f"{CANARY}\u0000\u202e"}), JSON, id="with control characters"),
    pytest.param(_json({"api_key": CANARY * 200}), JSON, id="too long a key"),
    pytest.param(_json({"api_key": CANARY[:7]}), JSON, id="too short a key"),
    pytest.param(_json(CANARY), JSON, id="as a bare string"),
    pytest.param(_json([CANARY]), JSON, id="as a bare list"),
    pytest.param(f'{{"api_key": "{CANARY}"'.encode(), JSON, id="in broken JSON"),
    pytest.param(f'{{"api_key": "{CANARY}", "api_key": "{CANARY}"}}'.encode(), JSON, id="twice under one name"),
    pytest.param(f'{{"api_key": "{CANARY}", "n": NaN}}'.encode(), JSON, id="alongside NaN"),
    pytest.param(f'{{"api_key": "{CANARY}", "n": 1e400}}'.encode(), JSON, id="alongside a huge number"),
    pytest.param(f'{{"api_key": "{CANARY}\\ud800"}}'.encode(), JSON, id="with half a surrogate pair"),
    pytest.param(b"\xef\xbb\xbf" + _json({"api_key": CANARY}), JSON, id="after a byte order mark"),
    pytest.param(_json({"api_key": CANARY}).decode().encode("utf-16"), JSON, id="in UTF-16"),
    pytest.param(_json({"api_key": CANARY, "x": "x" * 20_000}), JSON, id="in too large a body"),
    pytest.param(_json({"api_key": CANARY}), {"Content-Type": "text/plain"}, id="as another content type"),
    pytest.param(_json({"api_key": CANARY}), {"Content-Type": f"application/{CANARY}"}, id="as a content type"),
    pytest.param(f"api_key={CANARY}".encode(), {"Content-Type": "application/x-www-form-urlencoded"}, id="as a form"),
    pytest.param(_json({"model": CANARY, "messages": [{}], "input": "x"}), JSON, id="as a model"),
    pytest.param(_json({"model": "gpt-4o", "messages": CANARY}), JSON, id="as messages"),
    pytest.param(b"", {"If-Match": CANARY}, id="as If-Match"),
    pytest.param(b"", {"If-None-Match": CANARY}, id="as If-None-Match"),
    pytest.param(
        _json({"api_key": "sk-0123456789"}), {**JSON, "Idempotency-Key": f"{CANARY}\xe4"}, id="as a bad command id"
    ),
    pytest.param(b"", {"X-Request-ID": f"{CANARY} x"}, id="in a bad request id"),
    pytest.param(b"", {"X-API-Key": CANARY}, id="as the key of the caller"),
    pytest.param(b"", {"Authorization": f"Bearer {CANARY}"}, id="as a second key of the caller"),
]


@pytest.fixture
def logged(caplog):
    """Everything that any logger of the service's process says, at the finest level; not the test client's own."""
    caplog.set_level(logging.WARNING, "httpx2")
    caplog.set_level(logging.DEBUG)  # last, for it sets the level of what catches the records, too
    return caplog


def assert_silent(answer, logged):
    told = [answer.text, repr(dict(answer.headers)), logged.text, *(repr(vars(record)) for record in logged.records)]
    for form in FORMS:
        assert not any(form in text for text in told), (form, told)


@pytest.mark.parametrize(("body", "headers"), BODIES)
def test_a_secret_that_is_sent_does_not_come_back(harness, logged, body, headers):
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    for method, path in ROUTES:
        logged.clear()
        answer = harness.client.request(method, path, content=body, headers=encoded)
        assert answer.status_code < 500, (method, path, answer.text)
        assert_silent(answer, logged)


@pytest.mark.parametrize(
    "path",
    [
        f"{CREDENTIALS}/{CANARY}",
        f"{CREDENTIALS}/openai/{CANARY}",
        f"{CREDENTIALS}?api_key={CANARY}",
        f"{CREDENTIALS}/openai?{CANARY}=1",
        f"{CREDENTIALS}/openai/history?after={CANARY}",
        f"/api/v1/sysadmin/tenants/{CANARY}/credentials",
        f"/api/v1/audit/entries?actor={CANARY}%00",
        f"/api/v1/audit/entries?since={CANARY}&provider={CANARY}&tenant_id={CANARY}",
        f"/api/v1/sysadmin/tenants/{TENANT}/resolution?model={CANARY}",
        f"{OPENAI}/models/{CANARY}",
        f"/api/v1/tenants/{CANARY}/openai/v1/models",
        f"/{CANARY}",
    ],
    ids=lambda path: path.replace(CANARY, "CANARY"),
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
def test_a_secret_in_an_address_does_not_come_back(harness, logged, method, path):
    answer = harness.client.request(method, path)
    assert 400 <= answer.status_code < 500
    assert_silent(answer, logged)


def test_a_stored_key_is_nowhere_but_in_the_vault(harness, logged):
    harness.put(api_key=CANARY)
    harness.put(api_key=CANARY, endpoint="https://llm.example.com")
    for method, path in ROUTES:
        assert_silent(harness.client.request(method, path), logged)
    for path in ("/metrics", "/openapi.json", "/readyz"):
        assert_silent(harness.client.get(path), logged)
    assert CANARY not in repr(harness.log.events)


class _UnforeseenError(Exception):
    """An error of a library whose text holds the key."""


def test_the_text_of_an_unforeseen_error_is_neither_told_nor_logged(harness, logged):
    def fail():
        secret_in_a_local_value = CANARY
        raise _UnforeseenError(secret_in_a_local_value)

    harness.models.outcome = fail
    answer = harness.client.post(f"{OPENAI}/chat/completions", json={"model": "gpt-4o", "messages": [{}]})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert_silent(answer, logged)
    assert "type=_UnforeseenError place=test_leaks.py:" in logged.text
    assert answer.headers["X-Request-ID"] in logged.text


@pytest.mark.parametrize("error", [_UnforeseenError(CANARY), ProviderUnavailableError("openai", "reset")])
def test_an_error_in_the_middle_of_a_stream_tells_nothing_of_the_provider(harness, logged, error):
    harness.models.outcome = lambda: AnswerStream(TENANT_RECEIPT, Chunks({"n": 1}, error))
    answer = harness.client.post(f"{OPENAI}/chat/completions", json={"model": "gpt-4o", "messages": [{}]})
    assert answer.status_code == 200
    assert_silent(answer, logged)


def test_the_scanner_finds_what_it_looks_for(harness, logged):
    harness.models.outcome = lambda: Answer(TENANT_RECEIPT, {**CHAT_ANSWER, "leak": CANARY})
    answer = harness.client.post(f"{OPENAI}/chat/completions", json={"model": "gpt-4o", "messages": [{}]})
    with pytest.raises(AssertionError):
        assert_silent(answer, logged)
    logging.getLogger("anything").debug("leak", extra={"somewhere": CANARY})
    with pytest.raises(AssertionError):
        assert_silent(Harness().client.get("/livez"), logged)
