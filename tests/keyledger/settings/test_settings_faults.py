"""Every fault of the settings: named by its variable, found together with the others, without a value."""

import base64
from hashlib import sha256

import pytest

from tests.keyledger.settings.test_settings import CANARY, DIGEST, FERNET, ON, OTHER_FERNET, errors_of
from tests.support.each import each

FAULTS = [
    pytest.param(
        {"TENANT_CREDENTIALS_ENABLED": CANARY},
        "TENANT_CREDENTIALS_ENABLED: must be true or false",
        id="a switch that is neither on nor off",
    ),
    pytest.param({"ENCRYPTION_KEY": ""}, "ENCRYPTION_KEY: is required", id="tenant credentials without a key"),
    pytest.param({"ENCRYPTION_KEY": CANARY}, "ENCRYPTION_KEY: the value is not 32 bytes", id="a key of another form"),
    pytest.param({"ENCRYPTION_KEY": "<44-char-key>"}, "ENCRYPTION_KEY: the value is a placeholder", id="a placeholder"),
    pytest.param(
        {"ENCRYPTION_KEY": base64.b64encode(b"\xff" * 32).decode()},
        "ENCRYPTION_KEY: the value is not 32 bytes in url-safe base64",
        id="a key in the other base64 alphabet",
    ),
    pytest.param(
        {"ENCRYPTION_KEY_PREVIOUS": f"{OTHER_FERNET},{CANARY}"},
        "ENCRYPTION_KEY_PREVIOUS: key 2 is not 32 bytes",
        id="a previous key of another form",
    ),
    pytest.param(
        {"ENCRYPTION_KEY_PREVIOUS": FERNET},
        "ENCRYPTION_KEY_PREVIOUS: key 1 is the same as ENCRYPTION_KEY",
        id="the primary key among the previous ones",
    ),
    pytest.param(
        {"ENCRYPTION_KEY_PREVIOUS": f"{OTHER_FERNET},{OTHER_FERNET}"},
        "ENCRYPTION_KEY_PREVIOUS: key 2 is the same as key 1",
        id="a previous key twice",
    ),
    pytest.param({"ENCRYPTION_KEY_FILE": "/x"}, "ENCRYPTION_KEY: is set both directly", id="a key and its file"),
    pytest.param(
        {"ENCRYPTION_KEY": "", "ENCRYPTION_KEY_FILE": f"/absent/{CANARY}"},
        "ENCRYPTION_KEY_FILE: the file cannot be read (No such file or directory)",
        id="a file that is not there",
    ),
    pytest.param(
        {"OPENAI_API_KEY_FILE": "/"}, "OPENAI_API_KEY_FILE: the file cannot be read", id="a directory as a file"
    ),
    pytest.param(
        {"OPENAI_API_KEY_FILE": "a\0b"}, "OPENAI_API_KEY_FILE: the file cannot be read", id="what no file is called"
    ),
    pytest.param(
        {"INTRIC_SUPER_API_KEY": CANARY},
        "SUPER_API_KEY: is set as SUPER_API_KEY and as INTRIC_SUPER_API_KEY with different values",
        id="two super keys",
    ),
    pytest.param(
        {"APPROVALS": f"delete,{CANARY}"}, "APPROVALS: must be a list, separated by commas, of delete", id="a command"
    ),
    pytest.param({"APPROVAL_HOURS": "0"}, "APPROVAL_HOURS: ", id="a proposal without time"),
    pytest.param({"SUPER_API_KEY": "short"}, "SUPER_API_KEY: must have 8 or more", id="a super key to be guessed"),
    pytest.param(
        {"SUPER_API_KEY": "nyckel åäö 123"}, "SUPER_API_KEY: must have 8 or more", id="a super key in Swedish"
    ),
    pytest.param(
        {"VLLM_MODEL_URL": "http://llm.internal/sk-0a1b2c3d4e5f"},
        "VLLM_MODEL_URL: must not hold an API key",
        id="a key in an address",
    ),
    pytest.param({"API_KEYS": CANARY}, "API_KEYS: entry 1: must have the form", id="a named key of another form"),
    pytest.param(
        {"API_KEYS": f"anna:auditor:sha256:{DIGEST},bo:auditor:sha256:{CANARY}"},
        "API_KEYS: entry 2: the digest must be",
        id="a named key in clear",
    ),
    pytest.param(
        {"API_KEYS": f"anna:auditor:sha256:{DIGEST},anna:operator:sha256:{DIGEST[::-1]}"},
        "API_KEYS: the name anna is used 2 times",
        id="a name twice",
    ),
    pytest.param(
        {"API_KEYS": f"anna:auditor:sha256:{DIGEST},bo:operator:sha256:{DIGEST}"},
        "API_KEYS: two names share one key",
        id="a key under two names",
    ),
    pytest.param(
        {"API_KEYS": f"anna:auditor:sha256:{sha256(ON['SUPER_API_KEY'].encode()).hexdigest()}"},
        "API_KEYS: an entry is the digest of SUPER_API_KEY",
        id="the super key with a name",
    ),
    pytest.param(
        {"DATABASE_URL": f"postgresql+asyncpg://app:{CANARY}@db/ledger"},
        "DATABASE_URL: names a driver",
        id="a database URL of another library",
    ),
    pytest.param(
        {"DATABASE_URL": f"postgresql://app:ab@{CANARY}@db/ledger"},
        "DATABASE_URL: has an impossible part",
        id="an at sign in the password",
    ),
    pytest.param(
        {"DATABASE_URL": f"postgresql://app:12/{CANARY}@db/ledger"},
        "DATABASE_URL: has an impossible part",
        id="a slash in the password",
    ),
    pytest.param(
        {"DATABASE_URL": f"postgresql://app:{CANARY}@db:port/ledger"},
        "DATABASE_URL: has an impossible part",
        id="a port that is not a number",
    ),
    pytest.param({"OPENAI_API_KEY": f'"{CANARY}"'}, "OPENAI_API_KEY: is in quotes", id="a key in quotes"),
    pytest.param({"OPENAI_API_KEY": f"'{CANARY}"}, "OPENAI_API_KEY: is in quotes", id="a key with half its quotes"),
    pytest.param(
        {"MISTRAL_API_KEY": f"MISTRAL_API_KEY={CANARY}"}, "MISTRAL_API_KEY: is a whole assignment", id="its name again"
    ),
    pytest.param({"BERGET_API_KEY": "${BERGET}"}, "BERGET_API_KEY: is the name of a variable", id="a variable's name"),
    pytest.param({"ANTHROPIC_API_KEY": "sk-ant-****7890"}, "ANTHROPIC_API_KEY: is the mask of a key", id="a mask"),
    pytest.param(
        {
            "AZURE_API_KEY": f'"{CANARY}"',
            "AZURE_ENDPOINT": "https://a.openai.azure.com/anthropic",
            "AZURE_API_VERSION": "2024-10-21",
            "AZURE_DEPLOYMENT_NAME": "gpt-4o",
        },
        "AZURE_API_KEY: is in quotes",
        id="a key of azure in quotes",
    ),
    pytest.param(
        {"DATABASE_URL": f"postgresql://app:{CANARY}@db:6432/ledger?pgbouncer=true"},
        "DATABASE_URL: has the parameter pgbouncer of another client",
        id="a URL for a client that must know of the pooler",
    ),
    pytest.param(
        {"DATABASE_URL": f"postgresql://app:{CANARY}@db/ledger?sslmode=require&schema=public&connection_limit=1"},
        "DATABASE_URL: has the parameters schema, connection_limit of another client",
        id="a URL with parameters of another client",
    ),
    pytest.param(
        {"DATABASE_ADMIN_URL": f"postgresql://app:{CANARY}@db/ledger?sslaccept={CANARY}"},
        "DATABASE_ADMIN_URL: has the parameter sslaccept of another client",
        id="the same past the pooler",
    ),
    pytest.param(
        {"DATABASE_URL": f"postgresql://app:a?{CANARY}=b@db/ledger?pgbouncer=true"},
        "DATABASE_URL: is not a PostgreSQL URL",
        id="a database password with an unescaped question mark",
    ),
    pytest.param(
        {"DATABASE_URL": CANARY}, "DATABASE_URL: is not a PostgreSQL URL", id="a database URL that is not one"
    ),
    pytest.param({"MISTRAL_API_KEY": "short"}, "MISTRAL_API_KEY: must have 8 to 4096", id="a global key too short"),
    pytest.param(
        {"BERGET_API_KEY": f"{CANARY} {CANARY}"},
        "BERGET_API_KEY: must hold printable ASCII characters",
        id="a global key with a space",
    ),
    pytest.param(
        {"AZURE_API_KEY": CANARY}, "AZURE_ENDPOINT: is required for azure", id="azure's key without its endpoint"
    ),
    pytest.param(
        {"AZURE_API_KEY": CANARY}, "AZURE_API_VERSION: is required for azure", id="azure's key without its version"
    ),
    pytest.param(
        {"AZURE_API_KEY": CANARY},
        "AZURE_DEPLOYMENT_NAME: is required for azure",
        id="azure's key without its deployment",
    ),
    pytest.param({"VLLM_API_KEY": CANARY}, "VLLM_API_KEY: needs VLLM_MODEL_URL", id="vllm's key without its server"),
    pytest.param(
        {"OPENAI_API_BASE": f"https://user:{CANARY}@proxy.example.org/v1"},
        "OPENAI_API_BASE: must not hold an API key or a password",
        id="an address with a password",
    ),
    pytest.param(
        {"ANTHROPIC_API_BASE": f"https://proxy.example.org/?key={CANARY}"},
        "ANTHROPIC_API_BASE: must not hold a query",
        id="an address with a query",
    ),
    pytest.param(
        {"MISTRAL_API_BASE": "ftp://proxy.example.org"}, "MISTRAL_API_BASE: must start with https://", id="ftp"
    ),
    pytest.param(
        {"OVHCLOUD_API_BASE": "proxy.example.org"}, "OVHCLOUD_API_BASE: must start with https://", id="no scheme"
    ),
    pytest.param(
        {"VLLM_MODEL_URL": "http://169.254.169.254/v1"},
        "VLLM_MODEL_URL: names a link-local, metadata, multicast",
        id="a metadata address",
    ),
    pytest.param({"BERGET_API_BASE": "https://[::1/v1"}, "BERGET_API_BASE: is not a URL", id="half an IPv6 address"),
    pytest.param(
        {"TRUSTED_PROXIES": f"10.0.0.0/8 {CANARY}"},
        "TRUSTED_PROXIES: entry 2 must be an address or a CIDR range",
        id="a proxy that is not an address",
    ),
    pytest.param(
        {"TRUSTED_PROXIES": "10.0.0.7/8"},
        "TRUSTED_PROXIES: entry 1 must be an address or a CIDR range",
        id="a range that is not one",
    ),
    pytest.param(
        {"TRUSTED_PROXY_HEADER": "x-real-ip"},
        "TRUSTED_PROXY_HEADER: must be one of: x-forwarded-for, forwarded",
        id="a header that is not read",
    ),
    pytest.param(
        {"ENDPOINT_ALLOWED_HOSTS": f"vllm.lan,http://{CANARY}/v1"},
        "ENDPOINT_ALLOWED_HOSTS: entry 2 must be host, host:port",
        id="an allowed host with a scheme",
    ),
    pytest.param(
        {"ENDPOINT_ALLOWED_HOSTS": "vllm.lan 10.0.0.1/8"},
        "ENDPOINT_ALLOWED_HOSTS: entry 2 must be a range that begins with its first address",
        id="an allowed range that begins in its middle",
    ),
    pytest.param(
        {"ENDPOINT_ALLOWED_HOSTS": "169.254.169.254,vllm.lan"},
        "ENDPOINT_ALLOWED_HOSTS: entry 1 can never be allowed",
        id="an allowed host that no one calls",
    ),
    pytest.param(
        {"SELF_HOSTED_ENDPOINTS": CANARY}, "SELF_HOSTED_ENDPOINTS: must be one of: allowed, listed", id="another trust"
    ),
    *(
        pytest.param(
            {"PROVIDER_IDLE_CONNECTIONS": value},
            "PROVIDER_IDLE_CONNECTIONS: must be a whole number from 0 to 65536",
            id=f"{value} idle connections",
        )
        for value in ("-1", "65537", "1.5", "many", "٣", "9" * 30)
    ),
    pytest.param({"GLOBAL_FALLBACK": CANARY}, "GLOBAL_FALLBACK: must be one of: allow, deny", id="another fallback"),
    pytest.param({"LOG_LEVEL": CANARY}, "LOG_LEVEL: must be one of: debug", id="another level"),
    pytest.param({"LOG_FORMAT": CANARY}, "LOG_FORMAT: must be one of: auto, json, text", id="another format"),
]


@each(("given", "expected"), FAULTS)
def test_a_fault_names_its_variable_and_shows_no_value(given, expected):
    errors = errors_of(ON | given)
    assert any(error.startswith(expected) for error in errors), errors
    assert CANARY not in str(errors)
    assert FERNET not in str(errors)


def test_all_faults_come_at_once():
    errors = errors_of(ON | {"ENCRYPTION_KEY": "x", "GLOBAL_FALLBACK": "x", "LOG_LEVEL": "x", "VLLM_API_KEY": CANARY})
    assert {error.partition(":")[0] for error in errors} == {
        "ENCRYPTION_KEY",
        "VLLM_API_KEY",
        "GLOBAL_FALLBACK",
        "LOG_LEVEL",
    }


def test_an_unreadable_key_file_is_one_fault_and_not_also_a_missing_key():
    errors = errors_of(ON | {"ENCRYPTION_KEY": "", "ENCRYPTION_KEY_FILE": "/absent/key"})
    assert len(errors) == 1
