"""Every state that a credential can be in, and a stage to bring it about on: a service, the provider it should call and
one that must never hear of any key, on loopback, recording what arrives."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import yaml

from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.credential import stream_id
from domain.credentials.secret import SealContext, Secret
from keyledger.encryption.keyring import Keyring
from scripts.demo.stand_in_provider import StandInProvider
from tests.support.postgres import TemplatedServer
from tests.support.service import Client, client_of, environment, served
from tests.support.store import OTHER_ENCRYPTION_KEY

PROVIDERS = ("openai", "anthropic", "mistral", "ovhcloud", "berget", "azure", "vllm")
OTHERS = tuple(name for name in BUILT_IN if name not in PROVIDERS)
"""Rows that differ from those above by their addresses only; tests loop over them."""
AZURE = {"api_version": "2024-10-21", "deployment_name": "gpt-4o"}


@dataclass(frozen=True)
class Stage:
    """One service, the provider it should call, and one that must never hear of any key."""

    client: Client
    provider: StandInProvider
    thief: StandInProvider
    database_url: str
    global_keys: dict[str, str]

    def set(self, tenant: str, provider: str, key: str) -> None:
        body: dict[str, str] = {"api_key": key}
        if provider in {"azure", "vllm"}:
            body["endpoint"] = f"{self.provider.url}/{provider}"
        answer = self.client.put(tenant, provider, **body, **(AZURE if provider == "azure" else {}))
        assert answer.status_code == 200, answer.text

    def sql(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.database_url, autocommit=True) as database:
            changed = database.execute(statement, values)
            assert changed.rowcount == 1


def _global_settings(url: str, keys: dict[str, str]) -> dict[str, str]:
    settings = {f"{name.upper()}_API_KEY": key for name, key in keys.items()}
    if keys:
        settings |= {"AZURE_ENDPOINT": f"{url}/azure", "AZURE_API_VERSION": "2024-10-21"}
        settings |= {"AZURE_DEPLOYMENT_NAME": "gpt-global", "VLLM_MODEL_URL": f"{url}/vllm"}
    return settings


@contextmanager
def staged(postgres_server: TemplatedServer, folder: Path, *, with_global_keys: bool) -> Iterator[Stage]:
    """A service with or without global keys for every provider, and a model for each: `openai-model`, ..."""
    models = folder / "ai_models.yml"
    entries = [{"name": f"{name}-model", "family": name, "litellm_model_name": f"{name}/m"} for name in BUILT_IN]
    models.write_text(yaml.safe_dump({"completion_models": entries, "embedding_models": []}), encoding="utf-8")
    keys = {name: f"sk-global-{name}-{uuid4().hex}" for name in BUILT_IN} if with_global_keys else {}
    with ExitStack() as stack:
        provider = stack.enter_context(StandInProvider(accepted=lambda key: True))
        thief = stack.enter_context(StandInProvider(accepted=lambda key: True))
        database_url = stack.enter_context(postgres_server.fresh_database())
        bases = {f"{name.upper()}_API_BASE": f"{provider.url}/{name}" for name in (*PROVIDERS[:5], *OTHERS)}
        settings = environment(
            AI_MODELS_FILE=str(models),
            ENDPOINT_ALLOWED_HOSTS=f"{urlsplit(provider.url).netloc},{urlsplit(thief.url).netloc}",
            **bases,
            **_global_settings(provider.url, keys),
        )
        url = stack.enter_context(served(database_url, settings))
        client = stack.enter_context(client_of(url))
        yield Stage(client, provider, thief, database_url, keys)


Arrange = Callable[[Stage, str, str, str], None]
"""Brings about a state for a tenant, a provider and a key."""


def tenant_key(stage: Stage, tenant: str, provider: str, key: str) -> None:
    stage.set(tenant, provider, key)


def no_key(stage: Stage, tenant: str, provider: str, key: str) -> None:
    stage.set(str(uuid4()), provider, key)  # another tenant has one


def deleted(stage: Stage, tenant: str, provider: str, key: str) -> None:
    stage.set(tenant, provider, key)
    assert stage.client.delete(tenant, provider).status_code == 200


def undecryptable(stage: Stage, tenant: str, provider: str, key: str) -> None:
    """Sealed for this very place, under a key that the service does not have."""
    stage.set(tenant, provider, key)
    endpoint = f"{stage.provider.url}/{provider}" if provider in {"azure", "vllm"} else None
    azure = (AZURE["api_version"], AZURE["deployment_name"]) if provider == "azure" else (None, None)
    place = SealContext(tenant, provider, stream_id(tenant, provider), 1, endpoint, *azure)
    sealed = Keyring(OTHER_ENCRYPTION_KEY).seal(Secret(key), place)
    _update(
        stage, tenant, provider, "token = %s, binding = %s, key_id = %s", sealed.token, sealed.binding, sealed.key_id
    )


def tampered_token(stage: Stage, tenant: str, provider: str, key: str) -> None:
    stage.set(tenant, provider, key)
    _update(stage, tenant, provider, "token = overlay(token placing 'AAAA' from 60)")


def tampered_endpoint(stage: Stage, tenant: str, provider: str, key: str) -> None:
    stage.set(tenant, provider, key)
    _update(stage, tenant, provider, "endpoint = %s", f"{stage.thief.url}/v1")


def row_removed(stage: Stage, tenant: str, provider: str, key: str) -> None:
    stage.set(tenant, provider, key)
    stage.sql("DELETE FROM current_credentials WHERE tenant_id = %s AND provider = %s", tenant, provider)


def row_marked_deleted(stage: Stage, tenant: str, provider: str, key: str) -> None:
    stage.set(tenant, provider, key)
    gone = "token = NULL, binding = NULL, key_id = NULL, masked_key = NULL, set_at = NULL"
    _update(stage, tenant, provider, gone)


def row_of_an_earlier_version(stage: Stage, tenant: str, provider: str, key: str) -> None:
    stage.set(tenant, provider, key)
    with psycopg.connect(stage.database_url, autocommit=True) as database:
        database.execute(
            "CREATE TEMP TABLE old AS SELECT * FROM current_credentials WHERE tenant_id = %s AND provider = %s",
            [tenant, provider],
        )
        stage.set(tenant, provider, key + "-new")
        database.execute("DELETE FROM current_credentials WHERE tenant_id = %s AND provider = %s", [tenant, provider])
        database.execute("INSERT INTO current_credentials SELECT * FROM old")


def token_of_another_tenant(stage: Stage, tenant: str, provider: str, key: str) -> None:
    other = str(uuid4())
    stage.set(tenant, provider, f"sk-own-{uuid4().hex}")
    stage.set(other, provider, key)
    stage.sql(
        "UPDATE current_credentials AS mine SET token = o.token, binding = o.binding, key_id = o.key_id"
        " FROM current_credentials AS o WHERE o.tenant_id = %s AND o.provider = %s"
        " AND mine.tenant_id = %s AND mine.provider = o.provider",
        other,
        provider,
        tenant,
    )


def _update(stage: Stage, tenant: str, provider: str, change: str, *values: object) -> None:
    stage.sql(
        f"UPDATE current_credentials SET {change} WHERE tenant_id = %s AND provider = %s", *values, tenant, provider
    )


STATES: dict[str, tuple[Arrange, str]] = {
    "tenant key": (tenant_key, "tenant"),
    "no key": (no_key, "global"),
    "deleted": (deleted, "global"),
    "undecryptable": (undecryptable, "credential-unreadable"),
    "tampered token": (tampered_token, "credential-integrity"),
    "tampered endpoint": (tampered_endpoint, "credential-integrity"),
    "view row removed": (row_removed, "credential-integrity"),
    "view row marked deleted": (row_marked_deleted, "credential-integrity"),
    "view row of an earlier version": (row_of_an_earlier_version, "credential-integrity"),
    "token of another tenant": (token_of_another_tenant, "credential-integrity"),
}
