"""Authentication and roles: which key opens which route."""

from hashlib import sha256

import pytest

from api.front.auth import ROLES, Actor, Authenticator, NamedKey, format_named_key, may, parse_named_key
from domain.access.roles import Role
from domain.credentials.secret import Secret
from tests.api.conftest import CREDENTIALS, KEYS, NATIVE, OPENAI, SUPER_KEY, TENANT

RESOLUTION = f"/api/v1/sysadmin/tenants/{TENANT}/resolution"
AUDIT = "/api/v1/audit/entries"
USAGE = "/api/v1/audit/usage"
TENANTS = "/api/v1/sysadmin/tenants"
FLEET = "/api/v1/sysadmin/credentials"
PROTECTED = [
    ("GET", CREDENTIALS),
    ("GET", f"{CREDENTIALS}/openai"),
    ("PUT", f"{CREDENTIALS}/openai"),
    ("DELETE", f"{CREDENTIALS}/openai"),
    ("GET", f"{CREDENTIALS}/openai/history"),
    ("GET", AUDIT),
    ("GET", USAGE),
    ("GET", RESOLUTION),
    ("GET", TENANTS),
    ("GET", FLEET),
    ("POST", f"{OPENAI}/chat/completions"),
    ("POST", f"{OPENAI}/embeddings"),
    ("GET", f"{OPENAI}/models"),
    ("GET", f"{OPENAI}/models/gpt-4o"),
    ("POST", f"{NATIVE}/openai/v1/chat/completions"),
    ("GET", f"{NATIVE}/anthropic/v1/models"),
    ("GET", "/api/v1/nothing/here"),
    ("BREW", "/api"),
]
BAD_REQUESTS = [
    pytest.param({}, id="nothing else"),
    pytest.param({"content": b"{broken", "headers": {"Content-Type": "application/json"}}, id="a broken body"),
    pytest.param({"content": b"a=b", "headers": {"Content-Type": "text/plain"}}, id="another content type"),
    pytest.param({"content": b"x" * 100_000}, id="a body over the limit"),
    pytest.param({"params": {"limit": "x"}}, id="a query that does not fit"),
    pytest.param({"headers": {"If-Match": "broken"}}, id="a broken precondition"),
]


@pytest.mark.parametrize("request_parts", BAD_REQUESTS)
@pytest.mark.parametrize("key", [pytest.param(None, id="no key"), pytest.param("wrong", id="a wrong key")])
def test_without_a_valid_key_every_path_answers_401_whatever_else_is_sent(harness, key, request_parts):
    harness.client.headers.pop("X-API-Key")
    headers = {**request_parts.get("headers", {}), **({"X-API-Key": key} if key else {})}
    for method, path in PROTECTED:
        answer = harness.client.request(method, path, **{**request_parts, "headers": headers})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="keyledger"'
    assert harness.log.events == []


def test_a_body_that_never_comes_does_not_delay_a_401(switched_off):
    answer = switched_off.client.put(CREDENTIALS, headers={"X-API-Key": "wrong", "Content-Length": "100"}, content=b"")
    assert (answer.status_code, answer.headers["Connection"]) == (401, "close")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param([("X-API-Key", SUPER_KEY)], 200, id="X-API-Key"),
        pytest.param([("Authorization", f"Bearer {SUPER_KEY}")], 200, id="Bearer"),
        pytest.param([("Authorization", f"bearer  {SUPER_KEY} ")], 200, id="bearer in small letters with blanks"),
        pytest.param([("X-API-Key", SUPER_KEY), ("Authorization", f"Bearer {SUPER_KEY}")], 200, id="both the same"),
        pytest.param(
            [("X-API-Key", SUPER_KEY), ("Authorization", "Basic YTpi")], 200, id="a proxy's Basic alongside it"
        ),
        pytest.param([("X-API-Key", SUPER_KEY), ("Authorization", "Bearer other")], 401, id="both, different"),
        pytest.param([("X-API-Key", SUPER_KEY), ("X-API-Key", "other")], 401, id="twice, different"),
        pytest.param([("X-API-Key", SUPER_KEY), ("Authorization", "Bearer ")], 401, id="an empty one alongside it"),
        pytest.param([("X-API-Key", "")], 401, id="empty"),
        pytest.param([("Authorization", SUPER_KEY)], 401, id="no scheme"),
        pytest.param([("X-API-Key", b"\xff\xfe\xc3\xa4")], 401, id="bytes outside ASCII"),
        pytest.param([("Authorization", b"Bearer \xe2\x98\x83")], 401, id="a snowman"),
        pytest.param([("X-API-Key", SUPER_KEY.upper())], 401, id="other case"),
        pytest.param([("X-API-Key", SUPER_KEY[:-1])], 401, id="all but the last character"),
    ],
)
def test_one_key_is_read_from_the_headers(harness, headers, expected):
    harness.client.headers.pop("X-API-Key")
    sent = [(name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in headers]
    assert harness.client.get(CREDENTIALS, headers=sent).status_code == expected


ALLOWED = {
    Role.SYSADMIN: {*PROTECTED},
    Role.AUDITOR: {
        ("GET", CREDENTIALS),
        ("GET", f"{CREDENTIALS}/openai"),
        ("GET", f"{CREDENTIALS}/openai/history"),
        ("GET", AUDIT),
        ("GET", USAGE),
        ("GET", RESOLUTION),
        ("GET", TENANTS),
        ("GET", FLEET),
    },
    Role.OPERATOR: {
        ("GET", CREDENTIALS),
        ("GET", f"{CREDENTIALS}/openai"),
        ("GET", RESOLUTION),
        ("GET", TENANTS),
        ("GET", FLEET),
    },
    Role.RUNTIME: {
        ("POST", f"{OPENAI}/chat/completions"),
        ("POST", f"{OPENAI}/embeddings"),
        ("GET", f"{OPENAI}/models"),
        ("GET", f"{OPENAI}/models/gpt-4o"),
        ("POST", f"{NATIVE}/openai/v1/chat/completions"),
        ("GET", f"{NATIVE}/anthropic/v1/models"),
    },
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_reaches_what_it_was_granted_and_nothing_else(harness, role):
    for method, path in PROTECTED:
        answer = harness.client.request(method, path, headers={"X-API-Key": KEYS[role]})
        refused = answer.status_code == 403 and answer.json()["code"] == "forbidden"
        assert refused is ((method, path) not in ALLOWED[role]), (method, path, answer.text)


@pytest.mark.parametrize("path", [f"{CREDENTIALS}/openai/history\n", f"{CREDENTIALS}/a/b", "/api/v1/audit", "/api/"])
def test_a_path_beside_a_grant_is_denied(path):
    assert not any(may(role, "GET", path) for role in Role if role is not Role.SYSADMIN)


@pytest.mark.parametrize("path", [TENANTS, FLEET])
def test_who_may_look_at_the_fleet_may_not_change_it(path):
    assert [role for role in Role if may(role, "DELETE", path)] == [Role.SYSADMIN]


def test_the_audit_shows_the_name_of_the_key_that_was_used(harness):
    harness.put(headers={"X-API-Key": KEYS[Role.SYSADMIN]})
    harness.put("mistral")
    assert [event.actor for event in harness.log.events] == ["sysadmin-1", "super"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [(method, path, {"api_key": "sk-0123456789"} if method == "PUT" else None) for method, path in PROTECTED[:7]],
)
def test_with_the_feature_switched_off_everything_about_credentials_is_404(switched_off, method, path, body):
    answer = switched_off.client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "feature_disabled")
    assert "TENANT_CREDENTIALS_ENABLED" in answer.json()["detail"]


def test_with_the_feature_switched_off_models_are_still_called_and_strangers_still_refused(switched_off):
    chat = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    assert switched_off.client.post(f"{OPENAI}/chat/completions", json=chat).status_code == 200
    assert switched_off.client.get(CREDENTIALS, headers={"X-API-Key": "wrong"}).status_code == 401
    assert switched_off.client.get(CREDENTIALS, headers={"X-API-Key": KEYS[Role.RUNTIME]}).status_code == 403


def test_every_endpoint_below_api_demands_an_actor_itself(harness):
    harness.app.user_middleware[:] = [one for one in harness.app.user_middleware if one.cls.__name__ != "Guard"]
    for method, path in PROTECTED[:-2]:
        answer = harness.client.request(method, path, json={"api_key": "sk-0123456789"})
        assert answer.status_code == 500, (method, path)
    assert harness.log.events == []


def test_a_key_is_configured_by_a_line_that_does_not_hold_it():
    line = format_named_key("anna", Role.AUDITOR, Secret("anna-key-0123456789"))
    assert line == f"anna:auditor:sha256:{sha256(b'anna-key-0123456789').hexdigest()}"
    assert parse_named_key(f"  {line}\n") == NamedKey("anna", Role.AUDITOR, line.rpartition(":")[2])
    found = Authenticator(None, [parse_named_key(line)]).authenticate(b"anna-key-0123456789")
    assert found == Actor("anna", Role.AUDITOR)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        pytest.param("anna", "form", id="a name alone"),
        pytest.param("anna:auditor:sha256:00:00", "form", id="five parts"),
        pytest.param("an na:auditor:sha256:" + "0" * 64, "name", id="a blank in the name"),
        pytest.param(":auditor:sha256:" + "0" * 64, "name", id="no name"),
        pytest.param("super:auditor:sha256:" + "0" * 64, "reserved", id="the reserved name"),
        pytest.param("sk-canary-0a1b2c3d4e5f:auditor:sha256:" + "0" * 64, "an API key", id="a key for a name"),
        pytest.param("anna:root:sha256:" + "0" * 64, "role", id="an unknown role"),
        pytest.param("anna:auditor:md5:" + "0" * 32, "sha256", id="another digest"),
        pytest.param("anna:auditor:sha256:canary-key", "64", id="the key in place of its digest"),
        pytest.param("anna:auditor:sha256:" + "F" * 64, "lower-case", id="a digest in capitals"),
    ],
)
def test_a_faulty_line_names_its_fault_and_repeats_nothing(line, error):
    with pytest.raises(ValueError, match=error) as refused:
        parse_named_key(line)
    assert "canary" not in str(refused.value) and "an na" not in str(refused.value)


def test_a_blank_super_key_is_refused_and_without_any_key_nobody_gets_in():
    with pytest.raises(ValueError, match="blank"):
        Authenticator(Secret(" "))
    assert Authenticator(None).authenticate(b"") is None


def test_every_configured_key_is_compared_even_after_a_match(monkeypatch):
    compared = []

    def compare(left, right):
        compared.append(right)
        return left == right

    monkeypatch.setattr("api.front.auth.hmac.compare_digest", compare)
    named = [parse_named_key(format_named_key(f"key-{n}", Role.RUNTIME, Secret(f"key-{n}"))) for n in range(5)]
    authenticator = Authenticator(Secret("super"), named)
    for presented in (b"super", b"key-4", b"nobody"):
        compared.clear()
        authenticator.authenticate(presented)
        assert len(compared) == 6
