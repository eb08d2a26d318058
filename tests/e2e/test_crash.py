"""Kill -9 of the service during writes, and two services on one database."""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest

from domain.credentials.credential import stream_id
from scripts.demo.stand_in_provider import StandInProvider
from tests.support.checker import check
from tests.support.effort import KILLS
from tests.support.service import DIRECT_MODELS, Client, ServiceProcess, client_of, credential, environment
from tests.support.store import open_store

WRITERS = 4
TENANTS = [str(UUID(int=number, version=4)) for number in range(1, WRITERS + 1)]


@dataclass
class Journal:
    """The commands that were acknowledged to a client, by tenant and idempotency key, with their versions."""

    acknowledged: dict[tuple[str, str], int] = field(default_factory=dict)
    repeated: int = 0
    enough: threading.Event = field(default_factory=threading.Event)
    _wanted: int = 0

    def expect(self, more: int) -> None:
        self.enough.clear()
        self._wanted = len(self.acknowledged) + more

    def note(self, tenant: str, command: str, version: int) -> None:
        self.acknowledged[tenant, command] = version
        if len(self.acknowledged) >= self._wanted:
            self.enough.set()


@dataclass
class Writer:
    """Sets one credential again and again.

    A command that was not answered when the service died may have happened, so it is sent again unchanged as soon as
    the service is back.
    """

    tenant: str
    journal: Journal
    commands: Iterator[str]
    unanswered: str | None = None

    def write(self, url: str, stop: threading.Event) -> None:
        """Write until the service is gone."""
        with client_of(url) as client:
            if self.unanswered is not None:
                if (answer := self._send(client, self.unanswered)) is None:
                    return
                assert answer.status_code == 200, answer.text
                self.journal.repeated += 1
            while not stop.is_set():
                if self._send(client, next(self.commands)) is None:
                    return

    def _send(self, client: Client, command: str) -> httpx.Response | None:
        """Send a command and note its answer; None when it came to none."""
        self.unanswered = command
        try:
            answer = client.http.put(
                credential(self.tenant, "openai"),
                json={"api_key": f"sk-live-{command}"},
                headers={"Idempotency-Key": command},
            )
        except httpx.TransportError:
            return None
        self.unanswered = None
        if answer.status_code == 200:
            self.journal.note(self.tenant, command, answer.json()["version"])
        return answer


def test_kills_during_writes_lose_no_command_and_carry_out_none_twice(database_url: str, tmp_path: Path) -> None:
    journal, numbers = Journal(), itertools.count()
    writers = [Writer(tenant, journal, (f"command-{n:08}" for n in numbers)) for tenant in TENANTS]
    settings = environment(DATABASE_URL=database_url, AI_MODELS_FILE=DIRECT_MODELS)
    for round_number in range(KILLS):
        process = ServiceProcess(settings, tmp_path).start()
        stop = threading.Event()
        journal.expect(3 + round_number % 17)
        with ThreadPoolExecutor(WRITERS) as threads:
            written = [threads.submit(writer.write, process.url, stop) for writer in writers]
            assert journal.enough.wait(60), [one.exception(0) for one in written if one.done()]
            process.kill()
            stop.set()
        for one in written:
            one.result()
    with ServiceProcess(settings, tmp_path) as process:
        enough = threading.Event()
        enough.set()
        for writer in writers:
            writer.write(process.url, enough)

    with open_store(database_url) as store:
        check(store)
        stored = store.audit(limit=1_000_000)
    by_command = {(entry.tenant_id, entry.command_id): entry.version for entry in stored if entry.tenant_id}
    assert len(by_command) == len([entry for entry in stored if entry.tenant_id]), "no command happened twice"
    assert journal.repeated > 0
    assert journal.acknowledged == by_command, "every command was answered in the end, with the version that it made"


@pytest.fixture
def two_services(database_url: str, tmp_path: Path) -> Iterator[tuple[Client, Client, StandInProvider]]:
    with ExitStack() as stack:
        provider = stack.enter_context(StandInProvider(accepted=lambda key: True))
        settings = environment(
            DATABASE_URL=database_url,
            AI_MODELS_FILE=DIRECT_MODELS,
            OPENAI_API_BASE=provider.url,
            ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc,
        )
        first = stack.enter_context(ServiceProcess(settings, tmp_path))
        second = stack.enter_context(ServiceProcess(settings, tmp_path))
        yield stack.enter_context(client_of(first.url)), stack.enter_context(client_of(second.url)), provider


def test_what_one_service_answers_the_other_obeys_at_once(
    two_services: tuple[Client, Client, StandInProvider],
) -> None:
    one, other, provider = two_services
    tenant = TENANTS[0]

    def call() -> httpx.Response:
        return other.native(tenant, "openai", "v1/chat/completions", json={"model": "gpt-4o", "messages": []})

    for number in range(10):
        one.put(tenant, "openai", api_key=f"sk-round-{number:08}")
        provider.forget()
        assert call().status_code == 200
        assert [request.key for request in provider.requests] == [f"sk-round-{number:08}"]
        one.put(tenant, "openai", api_key=f"sk-again-{number:08}")
        provider.forget()
        assert call().status_code == 200
        assert [request.key for request in provider.requests] == [f"sk-again-{number:08}"]
        assert one.delete(tenant, "openai").status_code == 200
        provider.forget()
        assert call().json()["code"] == "no-credential"
        assert provider.requests == []
        one, other = other, one


def test_a_restart_serves_what_was_stored(database_url: str, tmp_path: Path) -> None:
    settings = environment(DATABASE_URL=database_url, AI_MODELS_FILE=DIRECT_MODELS)
    with ServiceProcess(settings, tmp_path) as process, client_of(process.url) as client:
        client.put(TENANTS[0], "openai", api_key="sk-live-0123456789")
    with ServiceProcess(settings, tmp_path) as process, client_of(process.url) as client:
        listed = client.http.get(f"/api/v1/sysadmin/tenants/{TENANTS[0]}/credentials").json()["credentials"]
    assert [(one["provider"], one["masked_key"], one["version"]) for one in listed] == [("openai", "...6789", 1)]
    with open_store(database_url) as store:
        assert store.log.last(stream_id(TENANTS[0], "openai")) is not None


REFUSED_STARTS = [
    pytest.param({"ENCRYPTION_KEY": "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="}, "1 credentials", id="another key"),
    pytest.param({"ENCRYPTION_KEY": "short"}, "ENCRYPTION_KEY", id="no key at all"),
    pytest.param({"SUPER_API_KEY": "short", "GLOBAL_FALLBACK": "maybe"}, "GLOBAL_FALLBACK", id="two faulty settings"),
    pytest.param({"AI_MODELS_FILE": "nothing.yml"}, "nothing.yml", id="no catalogue"),
    pytest.param(
        {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"},
        "nothing listens at the address in DATABASE_URL",
        id="no database",
    ),
]


@pytest.mark.parametrize(("settings", "said"), REFUSED_STARTS)
def test_a_start_that_would_go_wrong_is_refused_with_its_reason(
    database_url: str, tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    with open_store(database_url) as store:
        store.set(TENANTS[0], "openai", "sk-live-0123456789")
    with pytest.raises(AssertionError, match="the service ended") as ended:
        ServiceProcess(environment(DATABASE_URL=database_url) | settings, tmp_path).start()
    assert said in str(ended.value)
    assert "Traceback" not in str(ended.value)


def test_a_lost_key_can_be_accepted_and_its_credential_set_again(database_url: str, tmp_path: Path) -> None:
    with open_store(database_url) as store:
        store.set(TENANTS[0], "openai", "sk-live-0123456789")
    settings = environment(
        DATABASE_URL=database_url,
        ENCRYPTION_KEY="ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=",
        ALLOW_UNREADABLE_CREDENTIALS="true",
    )
    with ServiceProcess(settings, tmp_path) as process, client_of(process.url) as client:
        path = f"/api/v1/sysadmin/tenants/{TENANTS[0]}/credentials"
        assert client.http.get(path).json()["credentials"][0]["encryption_status"] == "unreadable"
        assert client.native(TENANTS[0], "openai", "v1/models", "GET").json()["code"] == "credential-unreadable"
        assert client.put(TENANTS[0], "openai", api_key="sk-live-0123456789").json()["version"] == 2
        assert client.http.get(path).json()["credentials"][0]["encryption_status"] == "encrypted"
