"""`config check`: everything that a start would see, and everything it would refuse."""

import json

from domain.credentials.secret import Secret
from keyledger.encryption.keyring import EncryptionKey
from scripts.terminal.exits import Exit

CANARY = "canary-4f9d1e7ab2-never-shown"
CATALOGUE = (
    "completion_models:\n  - {name: gpt, family: openai, litellm_model_name: openai/gpt}\nembedding_models: []\n"
)


def test_settings_fit_to_start_with_are_shown_with_their_sources_and_without_secrets(cli, bare_environment):
    (bare_environment / "ai_models.yml").write_text(CATALOGUE)
    (bare_environment / ".env").write_text("LOG_LEVEL=error\n")
    ended = cli("config", "check", env={"OPENAI_API_KEY": CANARY, "SUPER_API_KEY": CANARY})
    assert ended.code == Exit.OK, ended.err
    rows = {line.split()[0]: line.split()[1:] for line in ended.out.splitlines() if line.split()}
    assert rows["LOG_LEVEL"] == ["error", ".env"]
    assert ended.err.splitlines()[-1].endswith("to check database, keys and the rest: keyledger doctor")
    assert rows["OPENAI_API_KEY"] == ["...hown", "environment"]
    assert rows["DATA_DIR"] == [".data", "default"]
    assert CANARY not in ended.out + ended.err


def test_the_json_is_one_document_with_every_setting(cli, bare_environment):
    (bare_environment / "ai_models.yml").write_text(CATALOGUE)
    ended = cli("config", "check", "--json", env={"SUPER_API_KEY": CANARY})
    report = json.loads(ended.out)
    assert ended.code == Exit.OK
    assert set(report) == {"ok", "faults", "warnings", "settings"}
    assert report["ok"] is True
    assert {"name": "SUPER_API_KEY", "value": "***", "source": "environment"} in report["settings"]
    assert CANARY not in ended.out


def test_an_encryption_key_is_shown_by_its_key_id(cli, bare_environment):
    (bare_environment / "ai_models.yml").write_text(CATALOGUE)
    key = cli("generate-encryption-key").out.strip()
    env = {"TENANT_CREDENTIALS_ENABLED": "true", "ENCRYPTION_KEY": key, "SUPER_API_KEY": CANARY}
    ended = cli("config", "check", env=env)
    assert f"*** {EncryptionKey(Secret(key)).key_id}" in ended.out
    assert key not in ended.out


def test_faults_end_it_with_1_and_are_all_listed(cli):
    faulty = {"TENANT_CREDENTIALS_ENABLED": "true", "ENCRYPTION_KEY": CANARY, "GLOBAL_FALLBACK": CANARY}
    ended = cli("config", "check", env=faulty)
    assert ended.code == Exit.ERROR_FOUND
    assert "ENCRYPTION_KEY: " in ended.err
    assert "GLOBAL_FALLBACK: " in ended.err
    assert CANARY not in ended.out + ended.err
    as_json = cli("config", "check", "--json", env=faulty)
    assert as_json.code == Exit.ERROR_FOUND
    assert len(json.loads(as_json.out)["faults"]) == 2


def test_a_faulty_catalogue_is_a_fault_too(cli, bare_environment):
    (bare_environment / "ai_models.yml").write_text("completion_models: 7\n")
    assert cli("config", "check").code == Exit.ERROR_FOUND


def test_a_catalogue_that_is_named_and_not_there_is_a_fault_too(cli):
    ended = cli("config", "check", env={"AI_MODELS_FILE": "models.yml"})
    assert ended.code == Exit.ERROR_FOUND
    assert "models.yml" in ended.err


def test_without_a_catalogue_in_the_folder_the_packaged_one_serves_and_it_is_said(cli):
    ended = cli("config", "check")
    assert ended.code == Exit.OK
    assert "the packaged catalogue is used" in ended.err


def test_a_model_that_is_left_out_is_named_with_its_line_and_the_remedy(cli, bare_environment):
    (bare_environment / "ai_models.yml").write_text("- name: gemma\n  litellm_model_name: example/gemma\n")
    ended = cli("config", "check")
    assert ended.code == Exit.OK
    assert "gemma is left out (line 2): the provider 'example' is not known; add it to providers.yml" in ended.err
    (bare_environment / "providers.yml").write_text("- {name: example, base_url: https://llm.example.com/v1}\n")
    assert "left out" not in cli("config", "check").err


def test_a_model_whose_provider_announced_its_end_is_named_with_the_date(cli, bare_environment):
    (bare_environment / "ai_models.yml").write_text("- name: old\n  litellm_model_name: azure/gpt-35-turbo-0125\n")
    assert "old: azure announced the end of gpt-35-turbo-0125 for 2025-05-31, which is past" in " ".join(
        cli("config", "check").err.split()
    )


def test_a_faulty_provider_is_a_fault_with_its_line(cli, bare_environment):
    (bare_environment / "providers.yml").write_text("- name: example\n")
    ended = cli("config", "check")
    assert ended.code == Exit.ERROR_FOUND
    assert "PROVIDERS_FILE: providers.yml: line 1: base_url is missing" in ended.err


def test_a_service_with_faulty_settings_does_not_start(cli):
    ended = cli("serve", env={"TENANT_CREDENTIALS_ENABLED": "true", "GLOBAL_FALLBACK": "perhaps"})
    assert (ended.code, ended.out) == (Exit.REFUSED, "")
    assert ended.err.count("keyledger: ") == 2
