"""A service starts with catalogues as people have them, and says what it serves and what not, and why."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.demo.stand_in_provider import StandInProvider
from tests.support.neutral import inheritable
from tests.support.places import REPOSITORY
from tests.support.service import ServiceProcess, client_of, environment

TENANT = "11111111-1111-4111-8111-111111111111"
CATALOGUE = """
completion_models:
  - name: served
    family: openai
  - name: new-provider
    family: gdm
    litellm_model_name: gdm/gemma3-27b-it
  - name: no-provider
    litellm_model_name: gpt-4o
  - name: neither
  - name: "half*pattern"
    litellm_model_name: openai/x
embedding_models:
  - name: served-too
    family: openai
  - name: e5-large
    family: e5
  - name: of-claude
    family: claude
video_models:
  - name: flux
    family: flux
voice_models:
  - name: whisper
    family: openai
"""
LEFT_OUT = {
    "new-provider": "the provider 'gdm' is not known; add it to providers.yml",
    "no-provider": "litellm_model_name has no provider",
    "neither": "has neither litellm_model_name nor family",
    "half*pattern": "a pattern needs one * at the end",
    "e5-large": "the family 'e5' is not known",
    "of-claude": "anthropic offers no embeddings",
    "flux": "video_models are not served here",
    "whisper": "voice_models are not served here",
}


def test_models_that_cannot_be_served_are_named_at_the_start_and_by_readyz_and_the_rest_is_served(
    tmp_path: Path, database_url: str
) -> None:
    catalogue = tmp_path / "ai_models.yml"
    catalogue.write_text(CATALOGUE, encoding="utf-8")
    with StandInProvider(accepted={"sk-of-the-platform"}) as provider:
        settings = environment(
            AI_MODELS_FILE=str(catalogue),
            DATABASE_URL=database_url,
            DATA_DIR=str(tmp_path / "data"),
            OPENAI_API_KEY="sk-of-the-platform",
            OPENAI_API_BASE=f"{provider.url}/v1",
        )
        with ServiceProcess(settings, tmp_path) as process, client_of(process.url) as client:
            ready = client.http.get("/readyz").json()
            assert client.chat(TENANT, "served").status_code == 200
            assert client.embed(TENANT, "served-too").status_code == 200
            assert provider.requests[-1].key == "sk-of-the-platform"
            unserved = client.chat(TENANT, "new-provider")
    assert (unserved.status_code, unserved.json()["code"]) == (404, "unknown-model")
    assert ready["checks"]["catalogue"]["ok"]
    assert ready["checks"]["catalogue"]["text"].startswith("2 models; left out: ")
    warnings = [line for line in process.log.splitlines() if line.startswith("warning: ai_models.yml: ")]
    for name, reason in LEFT_OUT.items():
        (said,) = [line for line in warnings if f" {name} is left out (line " in line]
        assert reason in said
    for name, reason in LEFT_OUT.items():
        assert f"{name} (line " in ready["checks"]["catalogue"]["text"]
        assert reason in ready["checks"]["catalogue"]["text"]


@pytest.mark.long
def test_without_a_catalogue_and_a_network_the_packaged_one_serves_and_the_service_gets_ready(
    tmp_path: Path, database_url: str
) -> None:
    """In a network of its own, with loopback only: no name can be resolved and no address reached."""
    settings = {**environment(DATABASE_URL=database_url, DATA_DIR=str(tmp_path / "data")), **inheritable()}
    settings = {name: value for name, value in settings.items() if name != "AI_MODELS_FILE"}
    alone = ["unshare", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")), "--net"]
    try:
        subprocess.run([*alone, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system allows no network namespace")
    done = subprocess.run(
        [*alone, sys.executable, "-m", "tests.support.without_network"],
        cwd=tmp_path,
        env={**settings, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["reached"] == []
    assert "there is no ai_models.yml in this folder; the packaged catalogue is used" in seen["log"]
    assert seen["ready"]["status"] == "ready"
    assert seen["ready"]["checks"]["models"]["ok"]
    assert seen["ready"]["checks"]["catalogue"]["text"].endswith(" models")
    assert "gpt-4o" in seen["models"]
