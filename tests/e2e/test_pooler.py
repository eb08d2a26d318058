"""Behind a real PgBouncer, as many people run PostgreSQL: every call is answered, by the right key."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest

from scripts.demo.stand_in_provider import StandInProvider
from tests.support.checker import check
from tests.support.effort import POOLER_CALLS
from tests.support.pooler import pooled
from tests.support.service import DIRECT_MODELS, Client, ServiceProcess, client_of, credential, environment
from tests.support.store import open_store

pytestmark = pytest.mark.pooler

CLIENTS = 12
TRANSACTION = "pool_mode = transaction"
IGNORED = "ignore_startup_parameters = extra_float_digits,options"


@dataclass
class Tenant:
    """One client, which knows what its own tenant's key has to be at every moment, and asks another node each time."""

    tenant: str
    clients: Sequence[Client]
    key: str | None = None
    calls: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    served: dict[str, str | None] = field(default_factory=dict)

    def work(self, calls: int) -> None:
        while self.calls < calls:
            for step in (self._set, self._call, self._list, self._read, self._call, self._audit, self._delete):
                step(self.clients[self.calls % len(self.clients)])
            self._call(self.clients[self.calls % len(self.clients)])

    def _set(self, client: Client) -> None:
        self.key = f"sk-{self.tenant}-{self.calls:06}"
        self._answered(client.put(self.tenant, "openai", api_key=self.key))

    def _delete(self, client: Client) -> None:
        self._answered(client.delete(self.tenant, "openai"))
        self.key = None

    def _list(self, client: Client) -> None:
        listed = self._answered(client.http.get(f"/api/v1/sysadmin/tenants/{self.tenant}/credentials"))
        assert [one["masked_key"][-4:] for one in listed.json()["credentials"]] == [str(self.key)[-4:]]

    def _read(self, client: Client) -> None:
        answer = self._answered(client.http.get(credential(self.tenant, "openai")))
        assert answer.json()["masked_key"][-4:] == str(self.key)[-4:]

    def _audit(self, client: Client) -> None:
        answer = self._answered(client.http.get("/api/v1/audit/entries", params={"tenant_id": self.tenant, "limit": 1}))
        assert answer.json()["entries"][0]["tenant_id"] == self.tenant

    def _call(self, client: Client) -> None:
        name = f"{self.tenant}/{self.calls}"
        self.served[name] = self.key
        body = {"model": "gpt-4o", "user": name, "messages": [{"role": "user", "content": "hello"}]}
        answer = self._count(client.native(self.tenant, "openai", "v1/chat/completions", json=body))
        assert answer.status_code == (424 if self.key is None else 200), answer.text

    def _answered(self, answer: httpx.Response) -> httpx.Response:
        assert self._count(answer).status_code == 200, answer.text
        return answer

    def _count(self, answer: httpx.Response) -> httpx.Response:
        self.calls += 1
        self.statuses[answer.status_code] += 1
        return answer


@pytest.fixture
def provider() -> Iterator[StandInProvider]:
    with StandInProvider(accepted=lambda key: True) as provider:
        yield provider


@pytest.mark.parametrize(
    ("settings", "nodes"),
    [
        pytest.param((TRANSACTION,), 1, id="one node, as Debian installs it, in transaction mode"),
        pytest.param((TRANSACTION, IGNORED), 1, id="one node, start-up parameters ignored"),
        pytest.param((TRANSACTION, "default_pool_size = 2"), 2, id="two nodes on two connections"),
        pytest.param((TRANSACTION, IGNORED, "default_pool_size = 20"), 2, id="two nodes, start-up parameters ignored"),
        pytest.param(("pool_mode = session", IGNORED, "default_pool_size = 40"), 1, id="session mode"),
    ],
)
def test_every_call_is_answered_by_the_right_key(
    database_url: str, tmp_path: Path, provider: StandInProvider, settings: tuple[str, ...], nodes: int
) -> None:
    with pooled(database_url, *settings) as pooler, ExitStack() as running:
        given = environment(
            DATABASE_URL=pooler.url,
            AI_MODELS_FILE=DIRECT_MODELS,
            DATA_DIR=str(tmp_path / "data"),
            LOG_LEVEL="warning",
            OPENAI_API_BASE=provider.url,
            ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc,
        )
        services = [running.enter_context(ServiceProcess(given, tmp_path)) for _ in range(nodes)]
        tenants = [
            Tenant(str(UUID(int=n, version=4)), [running.enter_context(client_of(service.url)) for service in services])
            for n in range(1, CLIENTS + 1)
        ]
        with ThreadPoolExecutor(CLIENTS) as threads:
            for done in [threads.submit(tenant.work, POOLER_CALLS // CLIENTS) for tenant in tenants]:
                done.result()
    assert [line for service in services for line in service.log.splitlines() if "database error" in line] == []
    statuses = sum((tenant.statuses for tenant in tenants), Counter[int]())
    assert set(statuses) == {200, 424}
    assert statuses.total() >= POOLER_CALLS
    expected = {name: key for tenant in tenants for name, key in tenant.served.items() if key is not None}
    assert {str(request.body["user"]): request.key for request in provider.requests} == expected
    with open_store(database_url) as store:
        check(store)
