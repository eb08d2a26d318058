"""Settings are read again while the service runs: all of them or none, and nothing that is under way notices."""

import base64
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import httpx
import pytest

from keyledger.assembly.compose import Service, build
from keyledger.encryption.key_agreement import require_agreement
from keyledger.encryption.nodes import Presence, live_nodes
from keyledger.serving.http_server import listen, served_beside
from keyledger.settings.settings import load
from keyledger.start_error import StartError
from scripts.demo.stand_in_provider import StandInProvider
from tests.scripts.process import running
from tests.support.rings import BOTH, NEW, OLD, under_keys
from tests.support.service import Client, client_of, credential, environment
from tests.support.store import OTHER_ENCRYPTION_KEY, Store, open_store

TENANT = "11111111-1111-4111-8111-111111111111"
THIRD = base64.urlsafe_b64encode(bytes(32)).decode()
ONE_MODEL = "completion_models:\n- {name: first, family: openai}\n"
TWO_MODELS = f"{ONE_MODEL}- {{name: second, family: openai}}\n"


@dataclass
class Running:
    """A service whose settings a test may change before it asks for a reload."""

    service: Service
    client: Client
    settings: dict[str, str]
    folder: Path

    def reload(self, **settings: str) -> httpx.Response:
        self.settings.update(settings)
        return self.client.http.post("/api/v1/reload")

    def models(self) -> list[str]:
        document = self.client.http.get(f"/api/v1/tenants/{TENANT}/openai/v1/models").json()
        return [model["id"] for model in document["data"]]


@contextmanager
def serving(database_url: str, folder: Path, **settings: str) -> Iterator[Running]:
    (folder / "models.yml").write_text(ONE_MODEL)
    told = environment(AI_MODELS_FILE=str(folder / "models.yml"), DATA_DIR=str(folder / "data"), **settings)
    service = build(load(told, None), database_url, read_again=lambda: load(told, None))
    try:
        service.prepare()
        with listen("127.0.0.1", 0) as listener, served_beside(service.app, listener) as url, client_of(url) as client:
            yield Running(service, client, told, folder)
    finally:
        service.close()


@pytest.fixture
def one(database_url: str, tmp_path: Path) -> Iterator[Running]:
    with serving(database_url, tmp_path, OPENAI_API_KEY="sk-global-first-0123") as running:
        yield running


def test_without_a_change_a_reload_says_so(one: Running) -> None:
    answer = one.reload()
    assert (answer.status_code, answer.json()) == (200, {"changed": [], "needs_restart": [], "warnings": []})


def test_a_misspelt_setting_is_told_of(one: Running) -> None:
    answer = one.reload(OPENAI_API_KEYS="sk-global-third-0123")
    assert answer.json()["changed"] == []
    assert "did you mean OPENAI_API_KEY?" in answer.json()["warnings"][0]


def test_global_keys_and_base_urls_are_those_of_the_next_call(one: Running) -> None:
    with StandInProvider(accepted=lambda key: True) as first, StandInProvider(accepted=lambda key: True) as second:
        assert one.reload(OPENAI_API_BASE=first.url).json()["changed"] == ["OPENAI_API_BASE"]
        assert one.client.chat(TENANT, "first").status_code == 200
        changed = one.reload(OPENAI_API_BASE=second.url, OPENAI_API_KEY="sk-global-second-0123").json()["changed"]
        assert sorted(changed) == ["OPENAI_API_BASE", "OPENAI_API_KEY"]
        assert one.client.chat(TENANT, "first").status_code == 200
    assert [request.key for request in first.requests] == ["sk-global-first-0123"]
    assert [request.key for request in second.requests] == ["sk-global-second-0123"]


def test_the_catalogue_is_read_again_from_the_same_file(one: Running) -> None:
    assert one.models() == ["first"]
    (one.folder / "models.yml").write_text(TWO_MODELS)
    assert one.models() == ["first"], "nothing is read before someone asks for it"
    assert one.reload().json()["changed"] == ["AI_MODELS_FILE"]
    assert one.models() == ["first", "second"]


def test_a_provider_of_ones_own_is_known_after_a_reload(one: Running) -> None:
    key = {"api_key": "key-of-the-tenant-0123"}
    assert one.client.put(TENANT, "mine", **key).status_code == 404
    own = one.folder / "providers.yml"
    own.write_text("providers:\n- {name: mine, base_url: 'https://llm.example.com/v1'}\n")
    assert "PROVIDERS_FILE" in one.reload(PROVIDERS_FILE=str(own)).json()["changed"]
    assert one.client.put(TENANT, "mine", **key).status_code == 200
    document = one.client.http.get("/openapi.json").json()
    assert "mine" in str(document["paths"]["/api/v1/sysadmin/tenants/{tenant_id}/credentials/{provider}"])


def test_the_page_shows_the_document_of_the_moment(one: Running) -> None:
    assert "own-llm" not in one.client.http.get("/docs").text
    own = one.folder / "providers.yml"
    own.write_text("providers:\n- {name: own-llm, base_url: 'https://llm.example.com/v1'}\n")
    one.reload(PROVIDERS_FILE=str(own))
    assert "own-llm" in one.client.http.get("/docs").text


def test_a_credential_is_taken_out_of_use_although_its_provider_is_gone(one: Running, store: Store) -> None:
    own = one.folder / "providers.yml"
    own.write_text("providers:\n- {name: mine, base_url: 'https://llm.example.com/v1'}\n")
    one.reload(PROVIDERS_FILE=str(own))
    assert one.client.put(TENANT, "mine", api_key="key-of-the-tenant-0123").status_code == 200
    own.write_text("providers: []\n")
    one.reload()
    assert one.client.put(TENANT, "mine", api_key="key-of-the-tenant-0123").json()["code"] == "unknown-provider"
    credentials = credential(TENANT, "mine").removesuffix("/mine")
    for query in ("", f"?as_of={datetime.now(UTC).isoformat().replace('+00:00', 'Z')}"):
        shown = one.client.http.get(f"{credentials}{query}").json()["credentials"]
        assert [(each["provider"], each["encryption_status"]) for each in shown] == [("mine", "encrypted")]
    assert one.client.http.get(f"{credentials}/mine").json()["masked_key"] == "...0123"
    assert len(one.client.http.get(f"{credentials}/mine/history").json()["entries"]) == 1
    assert one.client.delete(TENANT, "mine").status_code == 200
    assert store.view.read(TENANT, "mine").current() is None
    assert one.client.delete(TENANT, "mine").json()["code"] == "unknown-provider"
    assert one.client.delete(TENANT, "no/such").status_code == 404


def test_hosts_are_allowed_and_forbidden_again(one: Running) -> None:
    private = {"api_key": "sk-tenant-0123456789", "endpoint": "http://10.1.2.3:8000"}
    assert one.client.put(TENANT, "openai", **private).status_code == 422
    one.reload(ENDPOINT_ALLOWED_HOSTS="10.1.2.3:8000")
    assert one.client.put(TENANT, "openai", **private).status_code == 200
    one.reload(ENDPOINT_ALLOWED_HOSTS="")
    assert one.client.put(TENANT, "openai", **private).status_code == 422


def test_keys_of_administrators_change_places(one: Running) -> None:
    assert one.reload(SUPER_API_KEY="another-admin-key-0123456789").json()["changed"] == ["SUPER_API_KEY"]
    assert one.reload().status_code == 401
    with client_of(str(one.client.http.base_url), "another-admin-key-0123456789") as another:
        assert another.http.post("/api/v1/reload").status_code == 200


def test_the_log_level_changes(one: Running) -> None:
    root = logging.getLogger()
    before, handlers = root.level, root.handlers[:]
    try:
        assert one.reload(LOG_LEVEL="error").json()["changed"] == ["LOG_LEVEL"]
        assert root.level == logging.ERROR
    finally:
        root.setLevel(before)
        root.handlers[:] = handlers


def test_a_previous_encryption_key_opens_at_once(one: Running, database_url: str) -> None:
    with open_store(database_url, NEW) as store:
        store.set(TENANT, "openai", "sk-tenant-0123456789")
    listed = f"/api/v1/sysadmin/tenants/{TENANT}/credentials"
    assert one.client.http.get(listed).json()["credentials"][0]["state"] == "unreadable"
    one.reload(ENCRYPTION_KEY_PREVIOUS=OTHER_ENCRYPTION_KEY.reveal())
    assert one.client.http.get(listed).json()["credentials"][0]["state"] != "unreadable"
    with open_store(database_url) as store:
        assert [node.key_ids for node in live_nodes(store.pool, BOTH)] == [BOTH.key_ids], "other nodes learn of it"


def test_what_only_a_restart_changes_is_named_by_each_reload_until_it_is_taken_back(one: Running) -> None:
    at_start = one.settings["DATA_DIR"]
    for _ in range(2):
        assert one.reload(DATA_DIR="elsewhere").json()["needs_restart"] == ["DATA_DIR"]
    assert one.reload(DATA_DIR=at_start).json()["needs_restart"] == []


def test_what_only_a_restart_changes_stays_and_is_named(one: Running) -> None:
    answer = one.reload(
        DATABASE_URL="postgresql://elsewhere/keyledger", TENANT_CREDENTIALS_ENABLED="false", LOG_FORMAT="json"
    )
    assert set(answer.json()["needs_restart"]) == {"DATABASE_URL", "TENANT_CREDENTIALS_ENABLED"}
    assert one.client.put(TENANT, "openai", api_key="sk-tenant-0123456789").status_code == 200


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        pytest.param({"LOG_LEVEL": "loud"}, "LOG_LEVEL", id="a faulty setting"),
        pytest.param({"AI_MODELS_FILE": "/nowhere/models.yml"}, "models.yml", id="no catalogue"),
        pytest.param({"ENCRYPTION_KEY": THIRD}, OLD.primary_id, id="a live credential that could not be opened"),
    ],
)
def test_a_faulty_configuration_is_refused_as_a_whole(one: Running, settings: dict[str, str], named: str) -> None:
    assert one.client.put(TENANT, "openai", api_key="sk-tenant-0123456789").status_code == 200
    (one.folder / "models.yml").write_text(TWO_MODELS)
    answer = one.reload(**settings, SUPER_API_KEY="another-admin-key-0123456789")
    assert (answer.status_code, answer.json()["code"]) == (409, "reload-refused")
    assert named in answer.json()["detail"]
    assert THIRD not in answer.text
    assert one.models() == ["first"]
    assert one.client.put(TENANT, "openai", api_key="sk-tenant-9876543210").status_code == 200


def test_a_key_that_another_node_does_not_know_is_not_sealed_with(one: Running, database_url: str) -> None:
    with open_store(database_url) as store:
        Presence(store.pool).beat(OLD)
        both = {
            "ENCRYPTION_KEY": OTHER_ENCRYPTION_KEY.reveal(),
            "ENCRYPTION_KEY_PREVIOUS": one.settings["ENCRYPTION_KEY"],
        }
        answer = one.reload(**both)
        assert answer.status_code == 409
        assert f"(process {os.getpid()}) does not know the key {NEW.primary_id}" in answer.json()["detail"]


def test_the_next_key_seals_once_every_node_opens_with_it(one: Running, store: Store) -> None:
    def sealed_with(key: str) -> dict[str, int]:
        assert one.client.put(TENANT, "openai", api_key=key).status_code == 200
        return under_keys(store)

    other = Presence(store.pool)
    other.beat(OLD)
    assert one.reload(ENCRYPTION_KEY_NEXT=OTHER_ENCRYPTION_KEY.reveal()).json()["changed"] == ["ENCRYPTION_KEY_NEXT"]
    assert sealed_with("sk-tenant-0123456789") == {OLD.primary_id: 1}
    other.beat(BOTH)
    one.service._steering.beat()
    assert sealed_with("sk-tenant-9876543210") == {NEW.primary_id: 1}
    assert one.reload(LOG_LEVEL="info").status_code == 200
    assert sealed_with("sk-tenant-0123456789") == {NEW.primary_id: 1}, "a later reload does not go back"


def test_a_node_that_is_about_to_serve_is_not_forgotten_when_the_next_key_seals(one: Running, store: Store) -> None:
    late = Presence(store.pool)
    late.beat(OLD)
    one.reload(ENCRYPTION_KEY_NEXT=OTHER_ENCRYPTION_KEY.reveal())
    late.leave()
    require_agreement(Presence(store.pool), OLD)
    one.service._steering.beat()
    assert {node.primary_id for node in live_nodes(store.pool, BOTH)} == {OLD.primary_id}


def test_that_the_next_key_seals_is_told_before_it_does(one: Running, store: Store) -> None:
    late = Presence(store.pool)
    late.beat(OLD)
    one.reload(ENCRYPTION_KEY_NEXT=OTHER_ENCRYPTION_KEY.reveal())
    late.leave()
    one.service._steering.seal_with_next()
    with pytest.raises(StartError, match=f"seals with the key {NEW.primary_id}"):
        require_agreement(Presence(store.pool), OLD, pause=lambda seconds: None, clock=count().__next__)


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.long)])
def test_sighup_reloads_every_process_also_one_that_is_starting_and_a_faulty_file_ends_none(
    tmp_path: Path, database_url: str, workers: str
) -> None:
    (tmp_path / "models.yml").write_text(ONE_MODEL)
    settings = environment(AI_MODELS_FILE="models.yml", DATABASE_URL=database_url)
    (tmp_path / ".env").write_text("GLOBAL_FALLBACK=allow\n")
    with running(tmp_path, "serve", "--port", "0", "--workers", workers, env=settings, warm=True) as node:
        url = node.wait_for(r"serving on (http://\S+)")
        if workers != "1":  # those after the first process begin when it serves, with the settings of that time
            node.wait_for("(Application startup complete)", times=int(workers))
        node.popen.send_signal(signal.SIGHUP)
        node.wait_for("(changed: nothing)", times=int(workers))
        node.wait_for("(Application startup complete)", times=int(workers))
        (tmp_path / ".env").write_text("GLOBAL_FALLBACK=never\n")
        node.popen.send_signal(signal.SIGHUP)
        node.wait_for(r"(the settings were not reloaded: GLOBAL_FALLBACK: must be one of)", times=int(workers))
        (tmp_path / ".env").write_text("GLOBAL_FALLBACK=deny\n")
        node.popen.send_signal(signal.SIGHUP)
        node.wait_for(r"(changed: GLOBAL_FALLBACK)", times=int(workers))
        with client_of(url) as client:
            answer = client.http.post("/api/v1/reload")
            assert answer.status_code == 200, answer.text
        assert node.terminate() == 0
    assert not [line for line in node.told if " ended" in line]
