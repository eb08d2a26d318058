"""The settings: what is read from where, every fault by name, and that no fault shows a value."""

import base64
from datetime import timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

import pytest

from domain.access.roles import Role
from domain.approvals.listed import ProposalRules
from domain.approvals.needs import Approval
from domain.credentials.secret import Secret
from domain.endpoints.rules import EndpointRules
from keyledger.settings.errors import SettingsError
from keyledger.settings.settings import load, load_data_dir

FERNET = base64.urlsafe_b64encode(bytes(range(32))).decode()
OTHER_FERNET = base64.urlsafe_b64encode(bytes(range(1, 33))).decode()
THIRD_FERNET = base64.urlsafe_b64encode(bytes(range(2, 34))).decode()
CANARY = "canary-4f9d1e7ab2-never-shown"
DIGEST = sha256(b"a key of the auditor").hexdigest()
ON = {"TENANT_CREDENTIALS_ENABLED": "true", "ENCRYPTION_KEY": FERNET, "SUPER_API_KEY": "a-super-key-of-some-length"}


def origins(settings):
    return {one.name: one.source for one in settings.resolved}


def errors_of(environ, dotenv=None):
    with pytest.raises(SettingsError) as caught:
        load(environ, dotenv)
    return caught.value.lines


def test_nothing_set_is_a_start_without_tenant_credentials():
    settings = load({}, None)
    assert not settings.policy.tenant_credentials
    assert settings.policy.fallback_allowed
    assert settings.policy.global_credentials == {}
    assert settings.policy.base_urls == {}
    assert settings.endpoint_rules == EndpointRules()
    assert settings.encryption_key is None
    assert settings.super_key is None
    assert settings.named_keys == ()
    assert settings.database_url is None
    assert settings.data_dir == Path(".data")
    assert settings.ai_models_file == Path("ai_models.yml")
    assert not settings.allow_unreadable
    assert settings.approvals == ProposalRules()
    assert (settings.log_level, settings.log_format) == ("info", "auto")
    assert any("every request" in warning for warning in settings.warnings)


def test_everything_set_is_read():
    settings = load(
        ON
        | {
            "ENCRYPTION_KEY_PREVIOUS": f"{OTHER_FERNET}, {THIRD_FERNET}",
            "API_KEYS": f"anna:auditor:sha256:{DIGEST}\nbackend:runtime:sha256:{DIGEST[::-1]}",
            "DATABASE_URL": "postgresql://app:pw@db:5433/ledger?sslmode=require",
            "DATA_DIR": "/var/lib/keyledger",
            "APPROVALS": "delete, thaw",
            "APPROVAL_HOURS": "72",
            "AI_MODELS_FILE": "/etc/keyledger/models.yml",
            "OPENAI_API_KEY": "sk-global-openai",
            "OPENAI_API_BASE": "https://proxy.example.org/openai/v1",
            "AZURE_API_KEY": "azure-global-key",
            "AZURE_ENDPOINT": "https://municipality.openai.azure.com",
            "AZURE_API_VERSION": "2024-10-21",
            "AZURE_DEPLOYMENT_NAME": "gpt-4o",
            "VLLM_API_KEY": "vllm-global-key",
            "VLLM_MODEL_URL": "http://10.0.0.7:8000/v1",
            "ENDPOINT_ALLOWED_HOSTS": "vllm.lan:8000, 10.0.0.8,[::1]:80 ::1,*.ml.lan 10.9.0.0/16",
            "SELF_HOSTED_ENDPOINTS": "Listed",
            "GLOBAL_FALLBACK": "deny",
            "ALLOW_UNREADABLE_CREDENTIALS": "yes",
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": "json",
        },
        None,
    )
    wanted = frozenset({Approval.DELETE, Approval.THAW})
    assert settings.approvals == ProposalRules(wanted, timedelta(hours=72))
    assert settings.encryption_key == Secret(FERNET)
    assert settings.previous_encryption_keys == (Secret(OTHER_FERNET), Secret(THIRD_FERNET))
    assert settings.super_key == Secret("a-super-key-of-some-length")
    assert [(key.name, key.role) for key in settings.named_keys] == [
        ("anna", Role.AUDITOR),
        ("backend", Role.RUNTIME),
    ]
    assert settings.database_url == Secret("postgresql://app:pw@db:5433/ledger?sslmode=require")
    assert settings.data_dir == Path("/var/lib/keyledger")
    assert settings.ai_models_file == Path("/etc/keyledger/models.yml")
    policy = settings.policy
    assert set(policy.global_credentials) == {"openai", "azure", "vllm"}
    assert policy.global_credentials["azure"].endpoint == "https://municipality.openai.azure.com"
    assert policy.global_credentials["azure"].deployment_name == "gpt-4o"
    assert policy.base_urls == {"openai": "https://proxy.example.org/openai/v1", "vllm": "http://10.0.0.7:8000"}
    assert not policy.fallback_allowed
    rules = settings.endpoint_rules
    assert rules.allows("vllm.lan", 8000, None)
    assert not rules.allows("vllm.lan", 9000, None)
    assert rules.allows("::1", 443, ip_address("::1"))
    assert rules.allows("a.b.ml.lan", 443, None)
    assert rules.allows("llm.example.com", 443, ip_address("10.9.1.1"))
    assert not rules.trusts(self_hosted=True)
    assert settings.allow_unreadable
    assert (settings.log_level, settings.log_format) == ("debug", "json")
    assert settings.warnings == ()


@pytest.mark.parametrize("spelling", ["true", "1", "yes", "TRUE", " Yes "])
def test_a_switch_is_on_in_each_of_its_spellings(spelling):
    assert load(ON | {"TENANT_CREDENTIALS_ENABLED": spelling}, None).policy.tenant_credentials


@pytest.mark.parametrize("spelling", ["false", "0", "no", "False", "", "  "])
def test_a_switch_is_off_in_each_of_its_spellings_and_when_blank(spelling):
    assert not load(ON | {"TENANT_CREDENTIALS_ENABLED": spelling}, None).policy.tenant_credentials


@pytest.mark.parametrize(("given", "kept"), [({}, 256), ({"PROVIDER_IDLE_CONNECTIONS": " 0 "}, 0)])
def test_idle_connections_are_a_number_with_a_default(given, kept):
    assert load(ON | given, None).idle_connections == kept


def test_a_vllm_server_without_a_global_key_is_fine():
    assert load({"VLLM_MODEL_URL": "http://vllm:8000"}, None).policy.base_urls == {"vllm": "http://vllm:8000"}


def test_addresses_of_the_platform_are_kept_in_one_form():
    settings = load(
        {
            "MISTRAL_API_BASE": "http://127.0.0.1:9000",
            "ANTHROPIC_API_BASE": "https://llm.example.org/v1/messages",
            "VLLM_MODEL_URL": "http://LOCALHOST:8000/v1/chat/completions",
            "AZURE_API_KEY": "azure-global-key",
            "AZURE_ENDPOINT": "https://a.openai.azure.com/openai/deployments/gpt-4o/chat/completions",
            "AZURE_API_VERSION": "2024-10-21",
            "AZURE_DEPLOYMENT_NAME": "gpt-4o",
        },
        None,
    )
    assert settings.policy.base_urls == {
        "mistral": "http://127.0.0.1:9000/v1",
        "anthropic": "https://llm.example.org",
        "vllm": "http://localhost:8000",
    }
    assert settings.policy.global_credentials["azure"].endpoint == "https://a.openai.azure.com"


def test_the_encryption_key_is_not_asked_for_while_tenant_credentials_are_off():
    assert load({"ENCRYPTION_KEY": "of another program"}, None).encryption_key is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"SUPER_API_KEY": "only-ten-c"}, "SUPER_API_KEY: has fewer than 20", id="a short super key"),
        pytest.param(
            {"OPENAI_API_KEY": "sk-proj-..."}, "OPENAI_API_KEY: ends in three dots", id="a key of the documentation"
        ),
        pytest.param(
            {"AZURE_ENDPOINT": "https://a.example.org"}, "AZURE_API_KEY: is not set", id="azure without a key"
        ),
    ],
)
def test_what_is_not_wrong_but_worth_knowing_is_a_warning(given, expected):
    warnings = load(ON | given, None).warnings
    assert len(warnings) == 1
    assert warnings[0].startswith(expected)


def test_the_super_key_has_its_old_name_too():
    settings = load({"INTRIC_SUPER_API_KEY": "a-super-key-of-some-length"}, None)
    assert settings.super_key == Secret("a-super-key-of-some-length")
    assert origins(settings)["SUPER_API_KEY"] == "environment (INTRIC_SUPER_API_KEY)"


def test_two_names_with_the_same_super_key_are_fine():
    assert load(ON | {"INTRIC_SUPER_API_KEY": ON["SUPER_API_KEY"]}, None).super_key == Secret(ON["SUPER_API_KEY"])


class TestFiles:
    def test_the_environment_wins_over_the_file_setting_by_setting(self, tmp_path):
        dotenv = tmp_path / ".env"
        dotenv.write_text("LOG_LEVEL=error\nLOG_FORMAT=json\nGLOBAL_FALLBACK=deny\n")
        settings = load({"LOG_LEVEL": "debug", "GLOBAL_FALLBACK": " "}, dotenv)
        assert (settings.log_level, settings.log_format) == ("debug", "json")
        assert not settings.policy.fallback_allowed, "blank is not set"
        assert origins(settings)["LOG_LEVEL"] == "environment"
        assert origins(settings)["LOG_FORMAT"] == ".env"
        assert origins(settings)["DATA_DIR"] == "default"
        assert origins(settings)["OPENAI_API_KEY"] == "not set"

    def test_a_secret_of_the_environment_wins_over_a_file_that_dotenv_names(self, tmp_path):
        dotenv = tmp_path / ".env"
        dotenv.write_text("OPENAI_API_KEY_FILE=/absent\n")
        settings = load({"OPENAI_API_KEY": "sk-of-the-environment"}, dotenv)
        assert settings.policy.global_credentials["openai"].secret == Secret("sk-of-the-environment")

    def test_a_dollar_sign_in_dotenv_is_a_dollar_sign(self, tmp_path):
        dotenv = tmp_path / ".env"
        dotenv.write_text("export OPENAI_API_KEY='sk-${HOME}-$1'\n")
        assert load({}, dotenv).policy.global_credentials["openai"].secret == Secret("sk-${HOME}-$1")

    def test_a_line_of_dotenv_that_means_nothing_is_a_fault(self, tmp_path):
        dotenv = tmp_path / ".env"
        dotenv.write_text(f"LOG_LEVEL=info\nOPENAI_API_KEY='{CANARY}\n")
        errors = errors_of({}, dotenv)
        assert errors == (f"{dotenv}: line 2 is not NAME=value; quote values that span lines",)

    def test_a_dotenv_that_is_not_there_is_no_fault(self, tmp_path):
        assert load({}, tmp_path / ".env").log_level == "info"

    def test_a_dotenv_that_is_not_text_is_a_fault(self, tmp_path):
        dotenv = tmp_path / ".env"
        dotenv.write_bytes(b"LOG_LEVEL=\xff\xfe")
        assert "the file cannot be read (not UTF-8 text)" in errors_of({}, dotenv)[0]

    @pytest.mark.parametrize(
        "name",
        ["SUPER_API_KEY", "INTRIC_SUPER_API_KEY", "DATABASE_URL", "ENCRYPTION_KEY", "ENCRYPTION_KEY_PREVIOUS"]
        + [f"{provider}_API_KEY" for provider in ("OPENAI", "ANTHROPIC", "MISTRAL", "OVHCLOUD", "BERGET")],
    )
    def test_every_secret_can_come_from_a_file(self, name, tmp_path):
        value = {"DATABASE_URL": "postgresql://db/x", "ENCRYPTION_KEY": OTHER_FERNET}.get(name, THIRD_FERNET)
        file = tmp_path / "secret"
        file.write_text(f"\n{value}\n")
        environ = {key: text for key, text in ON.items() if key != name and "SUPER" not in name + key}
        settings = load(environ | {f"{name}_FILE": str(file)}, None)
        found = [
            settings.encryption_key,
            *settings.previous_encryption_keys,
            settings.super_key,
            settings.database_url,
            *(one.secret for one in settings.policy.global_credentials.values()),
        ]
        assert any(secret == Secret(value) for secret in found if secret is not None)
        assert any(source == f"environment ({name}_FILE)" for source in origins(settings).values())

    def test_an_empty_secret_file_is_a_fault(self, tmp_path):
        file = tmp_path / "secret"
        file.write_text(" \n")
        assert errors_of({"OPENAI_API_KEY_FILE": str(file)}) == (
            "OPENAI_API_KEY_FILE: the file is empty; write the value into it",
        )

    def test_a_secret_file_of_absurd_size_is_a_fault(self, tmp_path):
        file = tmp_path / "secret"
        file.write_text("x" * 70_000)
        assert errors_of({"OPENAI_API_KEY_FILE": str(file)}) == ("OPENAI_API_KEY_FILE: the file has more than 64 KiB",)

    def test_the_data_dir_is_known_beside_settings_that_are_not_fit_to_start_with(self, tmp_path):
        dotenv = tmp_path / ".env"
        dotenv.write_text("DATA_DIR=/srv/ledger\nGLOBAL_FALLBACK=perhaps\n")
        assert load_data_dir({}, dotenv) == Path("/srv/ledger")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://a:5432,b:5433/ledger?target_session_attrs=read-write",
        "postgres:///ledger?host=/run/postgresql",
        "host=a,b dbname=ledger user=app",
        "postgresql://app:p%40ss@[::1]/ledger",
    ],
)
def test_a_database_can_be_named_in_every_form_that_libpq_knows(url):
    assert load({"DATABASE_URL": url}, None).database_url == Secret(url)


def test_neither_the_settings_nor_what_they_show_hold_a_secret():
    secrets = {
        "ENCRYPTION_KEY": FERNET,
        "ENCRYPTION_KEY_PREVIOUS": OTHER_FERNET,
        "SUPER_API_KEY": f"{CANARY}-super",
        "OPENAI_API_KEY": f"{CANARY}-openai",
        "AZURE_API_KEY": f"{CANARY}-azure",
        "DATABASE_URL": f"postgresql://app:{CANARY}@db/ledger?sslpassword={CANARY}",
    }
    azure = {"AZURE_ENDPOINT": "https://a.example.org", "AZURE_API_VERSION": "v1", "AZURE_DEPLOYMENT_NAME": "d"}
    settings = load(ON | azure | secrets, None)
    shown = repr(settings) + str(settings.resolved)
    assert not any(value in shown for value in (CANARY, FERNET, OTHER_FERNET))
    values = {one.name: one.shown for one in settings.resolved}
    assert values["OPENAI_API_KEY"] == "...enai"
    assert values["ENCRYPTION_KEY"] == "***"
    assert values["DATABASE_URL"] == "host=db dbname=ledger user=app"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        pytest.param("GLOBAL_FALBACK", "GLOBAL_FALLBACK", id="a letter too few"),
        pytest.param("TENANT_CREDENTIAL_ENABLED", "TENANT_CREDENTIALS_ENABLED", id="a missing plural"),
    ],
)
def test_a_name_that_is_nearly_a_setting_is_warned_of(name: str, meant: str) -> None:
    warnings = load({name: "deny"}, None).warnings
    assert [warning for warning in warnings if warning.startswith(name)] == [
        f"{name}: in environment is not a setting; did you mean {meant}?"
    ]


def test_other_programs_names_are_left_alone() -> None:
    names = {"PATH": "/bin", "DATABASE_HOST": "x", "HOME": "/", "OPENAI_ORGANIZATION": "x", "LOG_DIR": "x"}
    assert not any(warning.partition(":")[0] in names for warning in load(names, None).warnings)
