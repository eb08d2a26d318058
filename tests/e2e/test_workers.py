"""One service of two processes: what one of them acknowledged the other obeys, and none of them can be told apart."""

import asyncio
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from scripts.demo.stand_in_provider import StandInProvider
from tests.scripts.process import PATIENCE_S, Process, running
from tests.support.checker import check
from tests.support.native_provider import NativeProvider, native_provider
from tests.support.postgres import TemplatedServer
from tests.support.service import SHIPPED_MODELS, Client, client_of, environment
from tests.support.store import open_store

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in the process files of Linux"),
]

SERVING = r"serving on (http://\S+)"
STARTED = "(Application startup complete)"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
NATIVE = "/api/v1/tenants/{tenant_id}/providers/{provider}/{path}"
GLOBAL = "sk-the-global-key-0123456789"


def workers_of(service: Process) -> list[int]:
    pid = service.popen.pid
    own = Path(f"/proc/{pid}/cmdline").read_bytes()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [int(child) for child in children if Path(f"/proc/{child}/cmdline").read_bytes() == own]


@contextmanager
def only(worker: int, workers: list[int]) -> Iterator[None]:
    """Stop the others meanwhile, so that this one takes each new connection."""
    others = [pid for pid in workers if pid != worker]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
        while Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "T":
            pass  # until then it may still take a connection
    try:
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


@dataclass
class Node:
    """A service of two processes. clients: one for each, which keeps its one connection."""

    service: Process
    url: str
    provider: StandInProvider
    dotenv: Path
    clients: list[Client] = field(default_factory=list)

    def connect(self, stack: ExitStack) -> None:
        """Connect to each process. An answer such as 401 may end a connection, so each test does so again."""
        workers = workers_of(self.service)
        assert len(workers) == 2
        self.clients.clear()
        for worker in workers:
            client = stack.enter_context(client_of(self.url))
            with only(worker, workers):
                assert client.http.get("/livez").status_code == 200
            self.clients.append(client)
        for client in self.clients:  # a process that was stopped for long renews its lease first
            while client.http.get("/readyz").status_code != 200:
                pass

    def key_used(self, worker: int, tenant: str, key: str | None = None) -> str | None:
        """Call the provider through one process, and return the key that arrived there; None if none did."""
        self.provider.forget()
        headers = {"X-API-Key": key} if key is not None else {}
        self.clients[worker].native(tenant, "openai", "v1/chat/completions", json=CHAT, headers=headers)
        return self.provider.requests[0].key if self.provider.requests else None


@pytest.fixture
def node(pair: Node) -> Iterator[Node]:
    with ExitStack() as stack:
        pair.connect(stack)
        yield pair


@pytest.fixture(scope="module")
def pair(postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("workers")
    (folder / ".env").write_text("GLOBAL_FALLBACK=allow\n")
    with (
        StandInProvider(accepted=lambda key: True) as provider,
        postgres_server.fresh_database() as database_url,
    ):
        settings = environment(
            DATABASE_URL=database_url, OPENAI_API_BASE=f"{provider.url}/v1", OPENAI_API_KEY=GLOBAL, LOCKOUT_ATTEMPTS="0"
        )
        command = ("serve", "--port", "0", "--workers", "2")
        with running(folder, *command, env=settings, warm=True) as service:
            url = service.wait_for(SERVING)
            service.wait_for(STARTED, times=2)
            yield Node(service, url, provider, folder / ".env")
            assert service.terminate() == 0, service.told
        with open_store(database_url) as store:
            check(store)


def test_each_process_obeys_what_the_other_acknowledged(node: Node) -> None:
    tenant, without = str(uuid4()), str(uuid4())
    for turn in range(10):
        one, other = turn % 2, 1 - turn % 2
        key = f"sk-tenant-{turn}-{tenant}"
        assert node.clients[one].put(tenant, "openai", api_key=key).status_code == 200
        assert node.key_used(other, tenant) == key
        assert node.key_used(other, without) == GLOBAL
        assert node.clients[other].delete(tenant, "openai").status_code == 200
        assert node.key_used(one, tenant) == GLOBAL


def test_a_revoked_access_key_is_refused_by_each_process(node: Node) -> None:
    tenant, keys = str(uuid4()), "/api/v1/sysadmin/access-keys"
    for turn in range(4):
        one, other = turn % 2, 1 - turn % 2
        name = f"k-{uuid4().hex[:8]}"
        made = node.clients[one].http.post(keys, json={"name": name, "role": "runtime", "tenants": [tenant]})
        token = made.json()["token"]
        assert node.key_used(other, tenant, token) == GLOBAL
        assert node.clients[other].http.delete(f"{keys}/{name}").status_code == 200
        assert node.key_used(one, tenant, token) is None


def test_the_limits_of_a_caller_hold_for_both_processes_together(node: Node) -> None:
    body = {"name": f"k-{uuid4().hex[:8]}", "role": "runtime", "requests_per_minute": 6}
    token = node.clients[0].http.post("/api/v1/sysadmin/access-keys", json=body).json()["token"]
    path, headers = f"/api/v1/tenants/{uuid4()}/openai/v1/models", {"X-API-Key": token}
    answers = [node.clients[turn % 2].http.get(path, headers=headers) for turn in range(8)]
    # Time passes, so that a slow run admits one more every ten seconds.
    assert [answer.status_code for answer in answers[:6]] == [200] * 6
    assert "requests_per_minute" in answers[-1].text or answers[-1].status_code == 200


def test_one_reload_reaches_both(node: Node) -> None:
    tenant = str(uuid4())
    for fallback, key in (("deny", None), ("allow", GLOBAL)):
        node.dotenv.write_text(f"GLOBAL_FALLBACK={fallback}\n")
        assert node.clients[1].http.post("/api/v1/reload").status_code == 200
        for worker in (0, 1):
            while node.key_used(worker, tenant) != key:  # the other one reads it at the same time, and logs it
                pass


def calls_counted(client: Client) -> float:
    families = text_string_to_metric_families(client.http.get("/metrics").text)
    counted = (sample for family in families for sample in family.samples)
    return sum(
        sample.value
        for sample in counted
        if sample.name == "keyledger_http_requests_total" and sample.labels["route"] == NATIVE
    )


def test_either_shows_the_calls_of_both_and_none_is_lost_with_a_process(node: Node) -> None:
    tenant = str(uuid4())
    while (before := calls_counted(node.clients[0])) != calls_counted(node.clients[1]):
        pass  # what the other one counted may be a second old
    for worker in (0, 1, 1):
        node.key_used(worker, tenant)
    for client in node.clients:
        while calls_counted(client) < before + 3:
            pass
        assert calls_counted(client) == before + 3
    first, second = workers_of(node.service)
    os.kill(second, signal.SIGKILL)
    node.service.wait_for(rf"(process {second} of this service ended by signal 9; another one is started)")
    node.service.wait_for(STARTED, times=3)
    assert calls_counted(node.clients[0]) == before + 3
    assert node.clients[1].http.get("/livez").status_code == 200, "its client connects again"
    (new,) = set(workers_of(node.service)) - {first}
    with client_of(node.url) as client:
        with only(new, [first, new]):
            assert client.http.get("/livez").status_code == 200
        client.native(tenant, "openai", "v1/chat/completions", json=CHAT)
        while calls_counted(client) < before + 4:
            pass
        assert calls_counted(client) == before + 4


class Held:
    """A provider's stream whose second half is sent when a test says so."""

    def __init__(self, provider: NativeProvider) -> None:
        self.begun, self.go_on = Event(), Event()
        provider.answer = self.answer

    async def answer(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b'data: {"n": 1}\n\n')
        self.begun.set()
        await asyncio.to_thread(self.go_on.wait, 300)
        await answer.write(b"data: [DONE]\n\n")
        return answer


def test_what_needs_no_litellm_is_served_at_once_and_the_change_of_processes_breaks_nothing_off(
    postgres_server: TemplatedServer, tmp_path: Path
) -> None:
    tenant, said = str(uuid4()), list[tuple[str, int, str]]()
    with (
        StandInProvider(accepted=lambda key: True) as provider,
        native_provider() as streaming,
        postgres_server.fresh_database() as database_url,
        ExitStack() as stack,
    ):
        settings = environment(
            DATABASE_URL=database_url,
            AI_MODELS_FILE=SHIPPED_MODELS,
            OPENAI_API_BASE=f"{provider.url}/v1",
            OPENAI_API_KEY=GLOBAL,
            ENDPOINT_ALLOWED_HOSTS=urlsplit(streaming.url).netloc,
        )
        service = stack.enter_context(running(tmp_path, "serve", "--port", "0", "--workers", "2", env=settings))
        url = service.wait_for(SERVING)
        (early,) = workers_of(service)
        ends = os.pidfd_open(early)
        client, second, third = (stack.enter_context(client_of(url)) for _ in range(3))
        assert client.put(tenant, "vllm", api_key="EMPTY", endpoint=streaming.url).status_code == 200
        held = Held(streaming)

        def stream() -> None:
            answer = second.native(tenant, "vllm", "v1/chat/completions", json=CHAT | {"stream": True})
            said.append(("stream", answer.status_code, answer.text[-14:].strip()))

        def chat() -> None:
            answer = third.chat(tenant, "gpt-4o")
            said.append(("chat", answer.status_code, answer.headers.get("x-credential-source", answer.text)))

        threads = [Thread(target=stream), Thread(target=chat)]
        for thread in threads:
            thread.start()
        assert held.begun.wait(60)
        assert client.native(tenant, "openai", "v1/chat/completions", json=CHAT).status_code == 200
        assert [answer.key for answer in provider.requests] == [GLOBAL]
        assert workers_of(service) == [early], "the call was answered before the others were there"
        last = False
        while not last and not select.select([ends], [], [], 0.1)[0]:  # a connection that is not used times out
            last = client.http.get("/livez").headers.get("connection") == "close"
        assert last, "the early process says that it retires"
        while client.http.get("/readyz").status_code != 200:
            pass
        assert client.chat(tenant, "gpt-4o").status_code == 200
        held.go_on.set()
        for thread in threads:
            thread.join(60)
        assert sorted(said) == [("chat", 200, "global"), ("stream", 200, "data: [DONE]")]
        for one in (second, third):
            one.http.close()  # an answer that had begun before did not say that it is the last
        assert select.select([ends], [], [], PATIENCE_S)[0], "the early process has retired"
        os.close(ends)
        assert service.terminate() == 0, service.told
        assert not [line for line in service.told if '"level": "error"' in line], service.told
