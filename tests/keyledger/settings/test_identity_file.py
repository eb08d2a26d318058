"""The file of trusted issuers: what it says, and every error with its line."""

from pathlib import Path

import pytest

from domain.access.identity import Claim, Condition, IdentityRule, Issuer
from domain.access.key_limits import KeyLimits
from domain.access.roles import Role
from domain.access.scope import Scope
from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.secret import Secret
from keyledger.settings.errors import SettingsError
from keyledger.settings.identity_file import load_identity
from keyledger.settings.identity_settings import IdentitySettings, PeopleSettings, SignInSettings
from keyledger.settings.settings import load as load_settings
from keyledger.settings.start_environment import StartEnvironment
from tests.support.scenario import TENANT

FULL = f"""
issuers:
  - name: cluster
    url: https://kubernetes.default.svc
    audience: [keyledger, other]
    algorithms: [RS256, Ed25519]
    jwks_url: https://10.0.0.1:6443/openid/v1/jwks?all=1
    ca_file: /run/ca.crt
    clock_skew: 30
    max_age: 7200
    rules:
      - claims: {{sub: "system:serviceaccount:billing:*", /kubernetes.io/pod: [a, b]}}
        role: runtime
        tenants: [{TENANT}]
        providers: [openai]
        surfaces: [openai]
        models: ["gpt-4*"]
        networks: [192.0.2.0/24]
        requests_per_minute: 60
        concurrent_calls: 5
      - claims: {{sub: "*"}}
        role: none
  - name: ci
    url: http://localhost:4000
    audience: keyledger
    rules:
      - claims: {{repository: octo/app}}
        role: tenant-admin
        tenants_from: /keyledger/tenants
"""
LEAST = """issuers:
- name: ci
  url: https://ci.example
  audience: keyledger
  rules:
  - claims: {sub: a}
    role: runtime
"""


def load(folder: Path, text: str) -> IdentitySettings:
    path = folder / "identity.yml"
    path.write_text(text, encoding="utf-8")
    return load_identity(path, BUILT_IN)


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    cluster, ci = load(tmp_path, FULL).issuers
    sub = Condition(Claim(("sub",)), ("system:serviceaccount:billing:*",))
    pod = Condition(Claim(("kubernetes.io", "pod")), ("a", "b"))
    scope = Scope((TENANT,), ("openai",), ("gpt-4*",), ("openai",), None, ("192.0.2.0/24",))
    assert cluster == Issuer(
        "cluster",
        "https://kubernetes.default.svc",
        ("keyledger", "other"),
        ("RS256", "Ed25519"),
        (
            IdentityRule((sub, pod), Role.RUNTIME, scope, KeyLimits(60, 5)),
            IdentityRule((Condition(Claim(("sub",)), ("*",)),), None),
        ),
        "https://10.0.0.1:6443/openid/v1/jwks?all=1",
        "/run/ca.crt",
        30,
        7200,
    )
    assert (ci.algorithms, ci.skew_s, ci.max_age_s) == (("RS256", "ES256"), 60, 3600)
    rule = IdentityRule(
        (Condition(Claim(("repository",)), ("octo/app",)),),
        Role.TENANT_ADMIN,
        tenants_from=Claim(("keyledger", "tenants")),
    )
    assert ci.rules == (rule,)


def test_an_empty_file_and_no_file_trust_no_issuer(tmp_path: Path) -> None:
    assert load(tmp_path, "# none yet\n") == IdentitySettings() == load(tmp_path, "issuers: []\n")


WRONG = {
    "a shared secret": (
        "  audience: keyledger\n",
        "  audience: k\n  algorithms: [HS256]\n",
        "line 5: algorithms must be",
    ),
    "no algorithm": ("  audience: keyledger\n", "  audience: k\n  algorithms: [none]\n", "line 5: algorithms must be"),
    "an issuer without TLS": ("https://ci.example", "http://ci.example", "line 3: url must start with https://"),
    "metadata": ("https://ci.example", "https://169.254.169.254", "line 3: url names a link-local"),
    "no URL": ("https://ci.example", "ci.example", "line 3: url must start with https://"),
    "no audience": ("  audience: keyledger\n", "", "line 2: audience is missing"),
    "an empty audience": ("audience: keyledger", "audience: []", "line 4: audience must not be empty"),
    "no rules": ("  - claims: {sub: a}\n    role: runtime\n", "", "line 5: rules are missing"),
    "a rule for everyone": ("claims: {sub: a}", "claims: {}", "line 6: claims must name at least one claim"),
    "an unknown role": ("role: runtime", "role: root", "line 7: role must be one of"),
    "an unknown member": ("role: runtime", "role: runtime\n    tenant: x", "line 8: 'tenant' is not known"),
    "an unknown heading": ("issuers:", "issuer:", "'issuer' is not known"),
    "a tenant that is not a UUID": (
        "role: runtime",
        "role: runtime\n    tenants: [x]",
        "line 8: tenants must be UUIDs",
    ),
    "an unknown provider": ("role: runtime", "role: runtime\n    providers: [x]", "line 8: providers must be names"),
    "models of an auditor": ("role: runtime", "role: auditor\n    models: [x]", "line 8: models must be left out"),
    "a tenant-admin of nothing": ("role: runtime", "role: tenant-admin", "line 6: tenants is required"),
    "a scope of none": ("role: runtime", "role: none\n    providers: [openai]", "line 8: providers must be left out"),
    "tenants twice": (
        "role: runtime",
        f"role: runtime\n    tenants: [{TENANT}]\n    tenants_from: t",
        "line 9: tenants_from and tenants exclude each other",
    ),
    "a claim of tenants without its name": (
        "role: runtime",
        "role: runtime\n    tenants_from:",
        "line 8: tenants_from must",
    ),
    "no claim of tenants": ("role: runtime", "role: runtime\n    tenants_from: ~", "line 8: tenants_from must"),
    "a null for a claim": ("role: runtime", "role: runtime\n    tenants_from: null", "line 8: tenants_from must"),
    "a limit without a number": (
        "role: runtime",
        "role: runtime\n    requests_per_minute:",
        "line 8: requests_per_minute must not be empty",
    ),
    "certificates of nowhere": ("  audience:", "  ca_file:\n  audience:", "line 4: ca_file must not be empty"),
    "a pattern of stars": ("{sub: a}", '{sub: "*a*b*c*d*e"}', "line 6: each value may have at most 4 times *"),
    "a skew of an hour": ("  audience:", "  clock_skew: 3600\n  audience:", "line 4: clock_skew must be from 0 to 300"),
    "an age of a year": ("  audience:", "  max_age: 31536000\n  audience:", "line 4: max_age must be from 60 to 86400"),
    "a key": ("{sub: a}", "{sub: sk-proj-0123456789abcdef0123456789abcdef01234567}", "must not hold an API key"),
    "a number for a text": ("{sub: a}", "{sub: 7}", "line 6: sub must be a text; put it in quotes"),
}


def test_each_error_names_its_line_and_the_fix(tmp_path: Path) -> None:
    load(tmp_path, LEAST)
    for name, (part, wrong, said) in WRONG.items():
        assert part in LEAST
        with pytest.raises(SettingsError) as refused:
            load(tmp_path, LEAST.replace(part, wrong))
        assert said in "; ".join(refused.value.lines), (name, refused.value.lines)


def test_two_issuers_share_neither_name_nor_url(tmp_path: Path) -> None:
    entry = LEAST.removeprefix("issuers:\n")
    for other, said in ((entry.replace("ci.example", "b.example"), "same name"), (entry.replace("ci\n", "b\n"), "url")):
        with pytest.raises(SettingsError, match=said):
            load(tmp_path, LEAST + other)


PEOPLE = """people:
  rules:
  - claims: {groups: admins}
    role: sysadmin
"""


def test_people_have_rules_of_their_own(tmp_path: Path) -> None:
    rule = IdentityRule((Condition(Claim(("groups",)), ("admins",)),), Role.SYSADMIN)
    usual = load(tmp_path, PEOPLE).people
    assert usual == PeopleSettings(
        (rule,), ("RS256", "ES256"), ("openid", "profile", "email"), "name", 8 * 3600, 60, None
    )
    chosen = "  algorithms: [PS256]\n  scopes: [openid]\n  name_claim: upn\n  session_minutes: 5\n  clock_skew: 0\n"
    found = load(tmp_path, f"{PEOPLE}{chosen}  ca_file: /run/ca.crt\n").people
    assert found == PeopleSettings((rule,), ("PS256",), ("openid",), "upn", 300, 0, "/run/ca.crt")
    for wrong, said in (
        ("people: {}\n", "rules are missing"),
        (f"{PEOPLE}  session_minutes: 1\n", "line 5: session_minutes must be from 5 to 1440"),
        (f"{PEOPLE}  algorithms: [HS256]\n", "line 5: algorithms must be among"),
        (f"{PEOPLE}  audience: x\n", "line 5: 'audience' is not known"),
    ):
        with pytest.raises(SettingsError, match=said):
            load(tmp_path, wrong)


SIGN_IN = {
    "OIDC_ISSUER": "https://login.example.com/v2.0",
    "OIDC_CLIENT_ID": "client",
    "OIDC_CLIENT_SECRET": "word-0123456789",
    "OIDC_REDIRECT_URL": "https://keyledger.example.com/auth/callback",
}


def test_signing_in_needs_all_of_its_settings_and_rules_for_people(tmp_path: Path) -> None:
    path = tmp_path / "identity.yml"
    path.write_text(PEOPLE, encoding="utf-8")
    least = {"IDENTITY_FILE": str(path), "SUPER_API_KEY": "x" * 20}
    found = load_settings({**least, **SIGN_IN}, None)
    assert found.identity.sign_in == SignInSettings(
        SIGN_IN["OIDC_ISSUER"], "client", Secret("word-0123456789"), SIGN_IN["OIDC_REDIRECT_URL"]
    )
    assert "word-0123456789" not in repr(found)
    assert load_settings(least, None).identity.sign_in is None
    for name in SIGN_IN:
        with pytest.raises(SettingsError, match=f"{name}: is required for signing in"):
            load_settings({**least, **{other: value for other, value in SIGN_IN.items() if other != name}}, None)
    for name, value, said in (
        ("OIDC_ISSUER", "http://login.example.com", "OIDC_ISSUER: must start with https://"),
        ("OIDC_ISSUER", "https://169.254.169.254", "OIDC_ISSUER: names a link-local"),
        ("OIDC_REDIRECT_URL", "http://keyledger.example.com/auth/callback", "OIDC_REDIRECT_URL: must start with https"),
        ("OIDC_REDIRECT_URL", "https://keyledger.example.com/", "OIDC_REDIRECT_URL: must end in /auth/callback"),
    ):
        with pytest.raises(SettingsError, match=said):
            load_settings({**least, **SIGN_IN, name: value}, None)
    path.write_text(LEAST, encoding="utf-8")
    with pytest.raises(SettingsError, match="IDENTITY_FILE: has no rules for people"):
        load_settings({**least, **SIGN_IN}, None)


def test_the_clients_secret_leaves_the_environment_of_the_process() -> None:
    environ = {**SIGN_IN, "OTHER": "1"}
    started = StartEnvironment(environ)
    started.take()
    assert "OIDC_CLIENT_SECRET" not in environ
    assert started["OIDC_CLIENT_SECRET"] == "word-0123456789"


def test_the_setting_names_the_file_and_reports_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "identity.yml"
    path.write_text(LEAST.replace("runtime", "root"), encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load_settings({"IDENTITY_FILE": str(path), "SUPER_API_KEY": "x" * 20}, None)
    assert any(line.startswith("IDENTITY_FILE: identity.yml: line 7: role must") for line in refused.value.lines)
    path.write_text(LEAST, encoding="utf-8")
    found = load_settings({"IDENTITY_FILE": str(path), "SUPER_API_KEY": "x" * 20}, None)
    assert [issuer.name for issuer in found.identity.issuers] == ["ci"]
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings({"IDENTITY_FILE": str(tmp_path / "no.yml"), "SUPER_API_KEY": "x" * 20}, None)
