"""A service that starts with a secret in each setting for one keeps none of them anywhere.

Database, files, exports, bundles, logs, answers and the output of the commands that show settings are searched.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from domain.audit.formats import ExportFormat
from domain.credentials.built_in_providers import BUILT_IN
from keyledger.encryption.keyring import generate_encryption_key
from keyledger.proofs.signing_keys import generate_signing_key
from keyledger.settings.settings import load
from scripts.demo.stand_in_provider import StandInProvider
from tests.support.canary import dump, leaks
from tests.support.command_line import command
from tests.support.service import DIRECT_MODELS, ServiceProcess, client_of, environment

TENANT = str(uuid4())
PROVIDERS = tuple(row.name.upper() for row in BUILT_IN.values())


def secrets_for(database_url: str) -> dict[str, str]:
    """A value for each setting that holds a secret; most have no shape that a program could know."""
    return {
        "SUPER_API_KEY": f"super.{token_hex(16)}",
        "ENCRYPTION_KEY": generate_encryption_key().reveal(),
        "ENCRYPTION_KEY_NEXT": generate_encryption_key().reveal(),
        "ENCRYPTION_KEY_PREVIOUS": generate_encryption_key().reveal(),
        "AUDIT_SIGNING_KEY": generate_signing_key("log.test").reveal(),
        "DATABASE_URL": with_password(database_url, token_hex(12)),
        "DATABASE_ADMIN_URL": with_password(database_url, token_hex(12)),
        **{f"{name}_API_KEY": f"{name.lower()}{token_hex(16)}" for name in PROVIDERS},
    }


def with_password(database_url: str, password: str) -> str:
    user = urlsplit(database_url).username or ""
    return database_url.replace(f"{user}@", f"{user}:{password}@", 1)


def words_in(values: Mapping[str, str]) -> list[str]:
    """Return what is looked for: the secret values, and of an address its password."""
    return [(urlsplit(value).password or value) if name.endswith("_URL") else value for name, value in values.items()]


def test_every_setting_for_a_secret_is_tried(database_url: str) -> None:
    values = secrets_for(database_url)
    named = {one.name for one in load(environment(), None).resolved}
    assert {name for name in named if name.endswith(("_KEY", "_KEY_NEXT", "_KEY_PREVIOUS", "E_URL", "N_URL"))} == set(
        values
    )


@pytest.mark.parametrize("as_files", [False, True], ids=["directly", "as files"])
def test_no_secret_of_the_settings_is_kept_or_shown(tmp_path: Path, database_url: str, as_files: bool) -> None:
    values, data = secrets_for(database_url), tmp_path / "data"
    with ExitStack() as stack:
        provider = stack.enter_context(StandInProvider(accepted={values["OPENAI_API_KEY"]}))
        settings = environment(
            AI_MODELS_FILE=DIRECT_MODELS,
            DATA_DIR=str(data),
            LOG_LEVEL="debug",
            ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc,
            AZURE_ENDPOINT="https://res.openai.azure.com",
            AZURE_API_VERSION="2024-10-21",
            AZURE_DEPLOYMENT_NAME="gpt-4o",
            OPENAI_API_BASE=provider.url,
            ANTHROPIC_API_BASE=provider.url,
            VLLM_MODEL_URL=provider.url,
        )
        settings = {name: value for name, value in settings.items() if name not in values}
        settings |= in_files(tmp_path, values) if as_files else values
        process = stack.enter_context(ServiceProcess(settings, tmp_path))
        client = stack.enter_context(client_of(process.url, values["SUPER_API_KEY"]))
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
        answers = [
            client.put(TENANT, "mistral", api_key=f"own{token_hex(8)}"),
            client.native(TENANT, "openai", "v1/chat/completions", json=body),
            client.native(TENANT, "anthropic", "v1/messages", json=body | {"model": "claude"}),  # a rejected key
            client.http.post("/api/v1/reload"),
            *map(client.http.get, ("/readyz", "/metrics", "/openapi.json", "/api/v1/audit/evidence")),
            *(client.http.get("/api/v1/audit/export", params={"format": form}) for form in ExportFormat),
        ]
        shown = [command(tmp_path, settings, *words) for words in (("config", "check"), ("doctor",), ("keys", "list"))]
    assert [request.key for request in provider.requests][:1] == [values["OPENAI_API_KEY"]]
    assert [one.status_code for one in answers[3:]] == [200] * len(answers[3:])
    assert [one.code for one in shown] == [0, 0, 0], [one.err for one in shown]
    found = {
        "database": dump(database_url),
        "log": process.log.encode(),
        "answers": b"\n".join(f"{one.headers}".encode() + one.content for one in answers),
        "commands": "\n".join(one.out + one.err for one in shown).encode(),
        "files": b"\n".join(file.read_bytes() for file in data.rglob("*") if file.is_file()),
    }
    assert all(found.values())
    leaked = {name: leaks(content, words_in(values)) for name, content in found.items()}
    assert {name: forms for name, forms in leaked.items() if forms} == {}


def in_files(folder: Path, values: Mapping[str, str]) -> dict[str, str]:
    """Write each secret into a file of its own, and return the settings that name them."""
    named = {}
    for name, value in values.items():
        file = folder / f"{name.lower()}.txt"
        file.touch(0o600)
        file.write_text(f"{value}\n", encoding="utf-8")
        named[f"{name}_FILE"] = str(file)
    return named
