"""The set-up guide that users arrive with: its settings, files, commands and bodies work as they are written there.

Only the host differs, and keys that the guide leaves to its reader. The files are in `documented/`.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from scripts.demo.stand_in_provider import StandInProvider
from tests.support.canary import dump, leaks
from tests.support.places import REPOSITORY
from tests.support.service import ADMIN_KEY, Client, ServiceProcess, client_of, served

GUIDE = Path(__file__).parent / "documented"
BODIES = json.loads((GUIDE / "bodies.json").read_text(encoding="utf-8"))
TENANT, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
LLAMA = "llama-3.1-70b"


@pytest.fixture
def provider() -> Iterator[StandInProvider]:
    with StandInProvider(accepted=lambda key: "wrong" not in key) as provider:
        yield provider


@contextmanager
def following(
    folder: Path,
    settings: str,
    database_url: str,
    provider: StandInProvider,
    more: Mapping[str, str] | None = None,
    *,
    processes: list[ServiceProcess] | None = None,
) -> Iterator[Client]:
    """A service started in a folder that holds what the guide says, where hosts on this machine stand for its own.

    settings: which of the guide's. more: what the operator's environment has besides. processes: start it with the
    command, in place of within the test, and add the process here.
    """
    here = urlsplit(provider.url).netloc
    text = (GUIDE / settings).read_text(encoding="utf-8")
    for placeholder in ("<44-char-key>", "<generate-with-command-below>"):
        text = text.replace(placeholder, generated_key())
    text = text.replace("localhost:8000", here).replace("regional-vllm:8000", here)
    (folder / ".env").write_text(text, encoding="utf-8")
    shutil.copy(GUIDE / "ai_models.yml", folder)
    environment = {"INTRIC_SUPER_API_KEY": ADMIN_KEY, "DATABASE_URL": database_url, **(more or {})}
    with ExitStack() as stack:
        if processes is not None:
            processes.append(stack.enter_context(ServiceProcess(environment, folder)))
            url = processes[-1].url
        else:
            stack.enter_context(chdir(folder))
            url = stack.enter_context(served(database_url, environment, Path(".env")))
        yield stack.enter_context(client_of(url))


@cache
def generated_key() -> str:
    """The output of the guide's command for a new key; interpreter and program have other names."""
    text = (GUIDE / "generate-key.sh").read_text(encoding="utf-8")
    words = text.replace("poetry run python", shlex.quote(sys.executable))
    words = words.replace("intric.cli.generate_encryption_key", "scripts.main generate-encryption-key")
    done = subprocess.run(["sh", "-c", words], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def send(name: str, tenant: str, provider: str, client: Client) -> httpx.Response:
    """Send a request as the guide writes it down."""
    first, *lines = (GUIDE / name).read_text(encoding="utf-8").splitlines()
    method, path = first.replace("{tenant_id}", tenant).replace("{provider}", provider).split()
    parts = dict(line.split(": ", 1) for line in lines)
    header, key = parts["Headers"].split(": ")
    assert key == "<INTRIC_SUPER_API_KEY>"
    body = json.loads(parts["Body"]) if "Body" in parts else None
    return httpx.request(
        method, client.http.base_url.join(path), headers={header: ADMIN_KEY}, json=body, trust_env=False
    )


def run_command(name: str, tenant: str, client: Client) -> httpx.Response:
    """Run a command of the guide in a shell; only the host is another."""
    text = (GUIDE / name).read_text(encoding="utf-8")
    text = text.replace("https://api.eneo.ai", str(client.http.base_url).rstrip("/")).replace("{tenant_id}", tenant)
    program = shutil.which("curl")
    if program is None:
        pytest.skip("there is no curl on this machine")
    environment = {"INTRIC_SUPER_API_KEY": ADMIN_KEY, "PATH": os.environ["PATH"], "NO_PROXY": "*"}
    quiet = text.replace("curl ", "curl -sS -w '\\n%{http_code}' ", 1)
    done = subprocess.run(["sh", "-c", quiet], env=environment, capture_output=True, text=True, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return httpx.Response(int(status), text=body)


def listed(client: Client, tenant: str) -> list[dict[str, object]]:
    answer = client.http.get(f"/api/v1/sysadmin/tenants/{tenant}/credentials")
    assert answer.status_code == 200
    found: list[dict[str, object]] = answer.json()["credentials"]
    return found


def key_that_arrived(provider: StandInProvider) -> str | None:
    return provider.requests[-1].key


def test_the_quick_start_sets_keys_and_lists_them_masked(tmp_path, database_url, provider):
    with following(tmp_path, "quick-start.env", database_url, provider, processes=[]) as client:
        for name in ("set-openai.sh", "set-vllm.sh"):
            assert run_command(name, TENANT, client).status_code == 200
        shown = {one["provider"]: one for one in listed(client, TENANT)}
        assert {name: one["masked_key"] for name, one in shown.items()} == {"openai": "...3...", "vllm": "...cret"}
        assert {one["encryption_status"] for one in shown.values()} == {"encrypted"}
        assert client.delete(TENANT, "openai").status_code == 200
        assert [one["provider"] for one in listed(client, TENANT)] == ["vllm"]


def test_a_key_is_sealed_in_the_database_and_a_mask_everywhere_else(tmp_path, database_url, provider):
    running: list[ServiceProcess] = []
    key = json.loads((GUIDE / "set.http").read_text(encoding="utf-8").partition("Body: ")[2])["api_key"]
    with following(tmp_path, "quick-start.env", database_url, provider, processes=running) as client:
        answers = [send("set.http", TENANT, "openai", client), send("list.http", TENANT, "openai", client)]
        documented = json.loads((GUIDE / "list-answer.json").read_text(encoding="utf-8"))["credentials"][0]
        (shown,) = answers[-1].json()["credentials"]
        same = ("provider", "encryption_status")
        assert {name: shown[name] for name in same} == {name: documented[name] for name in same}
        assert shown["masked_key"] == f"...{key[-4:]}"
        for one in (documented, shown):
            assert datetime.fromisoformat(one["configured_at"]).tzinfo == UTC
        assert set(documented) <= set(shown)
        answers.append(client.http.get("/api/v1/audit/entries", params={"action": "set"}))
        assert [entry["masked_key"] for entry in answers[-1].json()["entries"]] == [shown["masked_key"]]
        with psycopg.connect(database_url) as connection:
            rows = connection.execute("SELECT token FROM current_credentials").fetchall()
        answers.append(send("delete.http", TENANT, "openai", client))
        assert send("list.http", TENANT, "openai", client).json() == {"credentials": []}
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [token.startswith("enc:fernet:v1:gAAAAA") for (token,) in rows] == [True]
    stored = dump(database_url)
    assert b"enc:fernet:v1:gAAAAA" in stored
    for content in (stored, running[0].log.encode(), *(answer.content for answer in answers)):
        assert leaks(content, [key]) == set()


@pytest.mark.parametrize("name", ["SUPER_API_KEY", "INTRIC_SUPER_API_KEY", "ENEO_SUPER_API_KEY"])
def test_the_service_key_has_the_names_of_the_platform(tmp_path, database_url, provider, name):
    named = {"INTRIC_SUPER_API_KEY": "", name: ADMIN_KEY}
    with following(tmp_path, "quick-start.env", database_url, provider, named) as client:
        assert listed(client, TENANT) == []


@pytest.mark.parametrize("name", ["AZURE_DEPLOYMENT_NAME", "AZURE_MODEL_DEPLOYMENT"])
def test_the_deployment_has_the_name_of_the_platform(tmp_path, database_url, provider, name):
    (tmp_path / "azure.yml").write_text("- {name: gpt-4, litellm_model_name: azure/gpt-4}", encoding="utf-8")
    azure = {
        "AZURE_API_KEY": "key-of-the-platform",
        "AZURE_ENDPOINT": provider.url,
        "AZURE_API_VERSION": "2024-02-15-preview",
        name: "dep-of-the-platform",
        "AI_MODELS_FILE": str(tmp_path / "azure.yml"),
    }
    with following(tmp_path, "shared-infrastructure.env", database_url, provider, azure) as client:
        body = {"model": "gpt-4", "messages": [{"role": "user", "content": "hello"}]}
        assert client.native(TENANT, "azure", "chat/completions", json=body).status_code == 200
        assert provider.requests[-1].path.startswith("/openai/deployments/dep-of-the-platform/chat/completions")


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in BODIES.items()])
def test_each_body_of_the_guide_is_taken_as_it_is(tmp_path, database_url, provider, case):
    with following(tmp_path, "shared-infrastructure.env", database_url, provider) as client:
        answer = client.put(TENANT, case["provider"], **case["body"])
        assert answer.status_code == 200, answer.text
        (shown,) = listed(client, TENANT)
        assert shown["config"] == {name: value for name, value in case["body"].items() if name != "api_key"}
        assert case["body"]["api_key"] not in answer.text


def test_a_single_tenant_is_served_with_the_global_keys(tmp_path, database_url, provider):
    base = {"OPENAI_API_BASE": f"{provider.url}/openai/v1", "NATIVE_GLOBAL_ROUTES": "openai:GET:v1/models"}
    with following(tmp_path, "single-tenant.env", database_url, provider, base) as client:
        assert client.chat(TENANT, LLAMA).status_code == 200
        assert key_that_arrived(provider) == "my-key"
        assert client.native(TENANT, "openai", "v1/models", "GET").status_code == 200
        assert key_that_arrived(provider) == "sk-proj-..."
        answer = client.put(TENANT, "openai", api_key="sk-proj-abc123")
        assert (answer.status_code, answer.json()["code"]) == (404, "feature_disabled")


def test_on_shared_infrastructure_a_tenants_own_key_is_used_and_others_fall_back(tmp_path, database_url, provider):
    base = {"OPENAI_API_BASE": f"{provider.url}/openai/v1", "NATIVE_GLOBAL_ROUTES": "openai:GET:v1/models"}
    with following(tmp_path, "shared-infrastructure.env", database_url, provider, base) as client:
        assert client.put(TENANT, "vllm", **BODIES["shared vllm"]["body"]).status_code == 200
        assert client.put(TENANT, "openai", api_key="sk-of-the-tenant-1234").status_code == 200
        assert client.chat(TENANT, LLAMA).status_code == 200
        assert key_that_arrived(provider) == "regional-secret"
        for tenant, key in ((TENANT, "sk-of-the-tenant-1234"), (OTHER, "shared-fallback-key")):
            assert client.native(tenant, "openai", "v1/models", "GET").status_code == 200
            assert key_that_arrived(provider) == key


def test_an_invalid_credential_is_an_error_and_never_the_global_key(tmp_path, database_url, provider):
    base = {"OPENAI_API_BASE": f"{provider.url}/openai/v1"}
    with following(tmp_path, "shared-infrastructure.env", database_url, provider, base) as client:
        assert client.put(TENANT, "openai", api_key="sk-wrong-1234").status_code == 200
        answer = client.native(TENANT, "openai", "v1/models", "GET")
        assert (answer.status_code, answer.json()["code"]) == (424, "credential-rejected")
        assert [one.key for one in provider.requests] == ["sk-wrong-1234"]


def test_on_dedicated_infrastructure_each_tenant_has_its_own_server_and_nobody_another(
    tmp_path, database_url, provider
):
    with following(tmp_path, "dedicated-infrastructure.env", database_url, provider) as client:
        for tenant, host in ((TENANT, "tenant-a-vllm"), (OTHER, "tenant-b-vllm")):
            answer = client.put(tenant, "vllm", api_key=f"key-of-{host}", endpoint=f"http://{host}:8000")
            assert answer.status_code == 200, answer.text
            url = f"/api/v1/sysadmin/tenants/{tenant}/resolution"
            resolved = client.http.get(url, params={"model": LLAMA}).json()
            assert (resolved["source"], resolved["endpoint"]) == ("tenant", f"http://{host}:8000")
        nobody = client.chat("33333333-3333-4333-8333-333333333333", LLAMA)
        assert (nobody.status_code, nobody.json()["code"]) == (424, "no-credential")
        assert provider.requests == []


def test_a_single_tenant_that_becomes_one_of_many_goes_on_with_the_global_keys(tmp_path, database_url, provider):
    with following(tmp_path, "single-tenant.env", database_url, provider) as client:
        assert client.chat(TENANT, LLAMA).status_code == 200
    migrated = {"TENANT_CREDENTIALS_ENABLED": "true", "ENCRYPTION_KEY": generated_key()}
    with following(tmp_path, "single-tenant.env", database_url, provider, migrated) as client:
        assert client.chat(TENANT, LLAMA).status_code == 200
        assert key_that_arrived(provider) == "my-key"
        assert client.put(TENANT, "vllm", api_key="own-key").status_code == 200
        assert client.chat(TENANT, LLAMA).status_code == 200
        assert key_that_arrived(provider) == "own-key"
        assert client.chat(OTHER, LLAMA).status_code == 200
        assert key_that_arrived(provider) == "my-key"
