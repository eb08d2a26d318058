"""No plaintext key anywhere but in the one request to its provider.

A canary is sent through everything; then everything that was written, answered or said is searched for it.
"""

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from cryptography.fernet import Fernet

from scripts.demo.stand_in_provider import Failure, Misbehaviour, StandInProvider
from tests.support.canary import dump, forms, leaks
from tests.support.each import each
from tests.support.service import SHIPPED_MODELS, Client, ServiceProcess, client_of, credential, environment
from tests.support.store import ENCRYPTION_KEY

TENANT = str(uuid4())


@each("form", forms("sk-CANARY-self-test-0123456789"))
@each("around", [pytest.param((b"", b""), id="alone"), pytest.param((b"log: ", b" end"), id="in text")])
def test_the_scanner_finds_a_planted_canary(form: str, around: tuple[bytes, bytes]) -> None:
    secret = "sk-CANARY-self-test-0123456789"
    planted = around[0] + forms(secret)[form] + around[1]
    assert form in leaks(planted, [secret])


def test_the_scanner_finds_nothing_in_a_mask() -> None:
    assert leaks(b'{"masked_key": "...6789"}', ["sk-CANARY-self-test-0123456789"]) == set()


@dataclass
class Heard:
    """Every answer the service gave."""

    answers: list[bytes] = field(default_factory=list)

    def listen(self, response: httpx.Response) -> None:
        response.read()
        self.answers.append(str(response.headers).encode() + b"\n" + response.content)


@dataclass(frozen=True)
class Scene:
    client: Client
    provider: StandInProvider
    process: ServiceProcess
    heard: Heard
    canary: str
    global_canary: str


# The log filter knows keys by their prefixes. One without a prefix is kept out by everything else alone.
PREFIXES = [pytest.param("sk-", id="key with a prefix"), pytest.param("", id="opaque key", marks=pytest.mark.long)]


@pytest.fixture
def scene(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[Scene]:
    prefix = getattr(request, "param", "sk-")
    canary, global_canary = f"{prefix}CANARY{uuid4().hex}", f"{prefix}CANARYglobal{uuid4().hex}"
    with ExitStack() as stack:
        provider = stack.enter_context(StandInProvider(accepted=lambda key: True))
        settings = environment(
            AI_MODELS_FILE=SHIPPED_MODELS,
            DATABASE_URL=database_url,
            LOG_LEVEL="debug",
            MISTRAL_API_KEY=global_canary,
            OPENAI_API_BASE=provider.url,
            ANTHROPIC_API_BASE=provider.url,
            MISTRAL_API_BASE=provider.url,
            ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc,
        )
        process = stack.enter_context(ServiceProcess(settings, tmp_path))
        client = stack.enter_context(client_of(process.url))
        heard = Heard()
        client.http.event_hooks["response"].append(heard.listen)
        yield Scene(client, provider, process, heard, canary, global_canary)


MISBEHAVIOURS = [
    None,
    Misbehaviour(Failure.STATUS, status=401),
    Misbehaviour(Failure.STATUS, status=403),
    Misbehaviour(Failure.STATUS, status=429, retry_after="7"),
    Misbehaviour(Failure.STATUS, status=500),
    Misbehaviour(Failure.ECHO),
    Misbehaviour(Failure.MID_STREAM_ERROR),
    Misbehaviour(Failure.CUT),
    Misbehaviour(Failure.RESET),
    Misbehaviour(Failure.NOT_JSON),
]

NATIVE = [("openai", "v1/chat/completions"), ("anthropic", "v1/messages"), ("mistral", "v1/chat/completions")]


def call_natively(client: Client, provider: str, path: str, *, stream: bool) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": stream}
    with contextlib.suppress(httpx.RemoteProtocolError):  # an answer that breaks off stays incomplete
        client.native(TENANT, provider, path, json=body)


HOSTILE_BODIES = [
    '{"apikey": "%s"}',
    '{"api_key": ["%s"]}',
    '{"api_key": {"value": "%s"}}',
    '{"api_key": "%s", "%s": 1}',
    '{"api_key": "%s", "endpoint": 7}',
    '{"api_key": "%s", "endpoint": "https://%s@evil.example.com"}',
    '{"api_key": "%s", "api_key": "%s"}',
    '{"api_key": "%s"',
    '"%s"',
    '{"api_key": "%s \\ud800"}',
    '{"api_key": "%s", "version": NaN}',
    '["%s"]',
]


def live_through_everything(scene: Scene) -> None:
    client, canary = scene.client, scene.canary
    for body in HOSTILE_BODIES:
        filled = body.replace("%s", canary)
        for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
            client.http.put(credential(TENANT, "openai"), content=filled, headers={"Content-Type": kind})
    client.http.put(f"/api/v1/sysadmin/tenants/{canary}/credentials/{canary}", json={"api_key": canary})
    client.http.get(f"/api/v1/audit/entries?actor={canary}&{canary}=1&since={canary}")
    client.http.get("/livez", headers={"X-API-Key": canary, "X-Request-ID": f"{canary}!"})
    client.http.get("/api/v1/audit/entries", headers={"X-API-Key": canary})
    client.http.get("/api/v1/audit/entries", headers={"Authorization": f"Bearer {canary}"})
    for provider in ("openai", "anthropic"):
        assert client.put(TENANT, provider, api_key=canary).status_code == 200
    for misbehaviour in MISBEHAVIOURS:
        scene.provider.misbehave = misbehaviour
        for model in ("gpt-4o", "claude-sonnet-4-5", "mistral-small"):
            for stream in (False, True):
                client.chat(TENANT, model, stream=stream)
        for provider, path in NATIVE:
            for stream in (False, True):
                call_natively(client, provider, path, stream=stream)
    scene.provider.misbehave = None
    for path in ("", "/openai", "/openai/history"):
        client.http.get(f"/api/v1/sysadmin/tenants/{TENANT}/credentials{path}")
    for path in ("/metrics", "/readyz", "/livez", "/openapi.json", "/api/v1/audit/entries"):
        client.http.get(path)
    client.delete(TENANT, "anthropic")


@pytest.mark.parametrize("scene", PREFIXES, indirect=True)
def test_no_key_is_anywhere_but_in_the_requests_to_its_provider(scene: Scene, database_url: str) -> None:
    live_through_everything(scene)
    stored = dump(database_url)
    scene.process.stop()

    secrets = [scene.canary, scene.global_canary]
    sent = {request.key for request in scene.provider.requests}
    assert sent == set(secrets), "the keys did go to the provider"
    assert len(scene.heard.answers) > 100
    assert leaks(b"\n".join(scene.heard.answers), secrets) == set()
    assert leaks(scene.process.log.encode(), secrets) == set()
    assert leaks(stored, secrets) == set()
    assert scene.process.log.count('"logger": "keyledger.access"') > 100, "the log has the requests"
    for name in ("CANARY", ENCRYPTION_KEY.reveal()):
        assert name not in scene.process.log
        assert name.encode() not in stored


def test_stored_tokens_open_with_the_encryption_key_alone(scene: Scene, database_url: str) -> None:
    scene.client.put(TENANT, "openai", api_key=scene.canary)
    with psycopg.connect(database_url) as database:
        row = database.execute("SELECT token FROM current_credentials").fetchone()
    assert row is not None
    token = str(row[0])
    assert token.startswith("enc:fernet:v1:")
    opened = Fernet(ENCRYPTION_KEY.reveal()).decrypt(token.removeprefix("enc:fernet:v1:").encode())
    assert opened.decode() == scene.canary
